//go:build vm

package imagestore

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
)

// TestContainersHaveTheDefaultLimit checks that containers have the default limit and
// builds do not, and that a limited container can be committed.
func TestContainersHaveTheDefaultLimit(t *testing.T) {
	s := newTestEngine(t, map[string]string{"size": "8M"})
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "box", "odds", "sleep", "1000000")
	s.MustExec(t, "box", "dd", "if=/dev/urandom", "of=/fits", "bs=1M", "count=2")
	out, err := s.Exec("box", "dd", "if=/dev/urandom", "of=/too-much", "bs=1M", "count=20")
	if err == nil || !strings.Contains(out, "Disk quota exceeded") {
		t.Errorf("20 MB in a container limited to 8M: %q, %v", out, err)
	}
	s.MustExec(t, "box", "rm", "/too-much")
	s.Docker(t, "restart", "-t", "0", "box")
	s.Docker(t, "commit", "box", "committed")
	if got := s.Docker(t, "run", "--rm", "--network", "none", "committed", "sh", "-c", "stat -c %s /fits; ls /lower/keep-dir"); got != "2097152\nold\nsub" {
		t.Errorf("the image of a limited container holds %q", got)
	}
	must(t, images.BuildKit.Build(s.Engine, "large", images.WriteContext(t, map[string]string{
		"Dockerfile": "FROM odds\nRUN dd if=/dev/urandom of=/large bs=1M count=20\n",
	})))
	s.RemoveContainers(t, "box")
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
	waitFor(t, func() error { return engine.CheckNoLimitDatasets(t, s.dataset) })
}

// TestUsageIsWhatAContainerWrote compares the size that docker inspect shows with what
// the container wrote.
func TestUsageIsWhatAContainerWrote(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "box", "odds", "sleep", "1000000")
	s.MustExec(t, "box", "sh", "-ec", "head -c 3000000 /dev/urandom >/random; head -c 30000000 /dev/zero >/zeros")
	// Space counts once data is on disk, and zeros take none.
	waitFor(t, func() error {
		size, err := strconv.Atoi(s.Docker(t, "inspect", "--size", "-f", "{{.SizeRw}}", "box"))
		if err == nil && (size < 3000000 || size > 4000000) {
			err = fmt.Errorf("a container that wrote 3 MB takes %d", size)
		}
		return err
	})
}
