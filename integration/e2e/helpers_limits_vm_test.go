//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/pluginclient"
)

const mib = 1 << 20

// execShell runs a script in a container.
func (s *testEngine) execShell(container, script string) (string, error) {
	return s.Exec(container, "sh", "-c", script)
}

func (s *testEngine) mustExecShell(t testing.TB, container, script string) string {
	t.Helper()
	out, err := s.execShell(container, script)
	must(t, err)
	return out
}

// fillToLimit writes noise in a container until the limit refuses it, then deletes the
// noise. It fails the test when the limit is not enforced where and how it should be.
func (s *testEngine) fillToLimit(t testing.TB, container string, limit int64) {
	t.Helper()
	const noise = "dd if=/dev/urandom of=/noise bs=1M count=1000"
	out, err := s.execShell(container, noise)
	if err == nil || !strings.Contains(out, "quota exceeded") {
		t.Errorf("container %s is not stopped at %d bytes: %v %s", container, limit, err, out)
	}
	size, err := strconv.ParseInt(s.mustExecShell(t, container, "set -- $(ls -l /noise); echo $5"), 10, 64)
	must(t, err)
	if size > limit || size < limit/2 {
		t.Errorf("container %s of %d bytes took a file of %d", container, limit, size)
	}
	s.mustExecShell(t, container, "rm /noise")
	// Deleted blocks are free after the next transaction group.
	waitFor(t, func() error {
		run(t, "zpool", "sync", "tank")
		_, err := s.execShell(container, fmt.Sprintf("dd if=/dev/urandom of=/noise bs=1M count=%d", limit/mib/2))
		return err
	})
	s.mustExecShell(t, container, "rm /noise")
	run(t, "zpool", "sync", "tank")
}

// readTotal returns the size of a container's file system, as df shows it.
func (s *testEngine) readTotal(t testing.TB, container string) int64 {
	t.Helper()
	c, err := s.InspectContainer(container)
	must(t, err)
	var n, size int64
	out := run(t, "stat", "-f", "-c", "%b %S", fmt.Sprintf("/proc/%d/root", c.State.Pid))
	_, err = fmt.Sscan(out, &n, &size)
	must(t, err)
	return n * size
}

func requireTotal(t testing.TB, s *testEngine, container string, limit int64) {
	t.Helper()
	if got := s.readTotal(t, container); got > limit || got < limit-mib {
		t.Errorf("df shows %d bytes in container %s, whose limit is %d", got, container, limit)
	}
}

// readDriverData returns a value of the driver's metadata of a container's layer.
func (s *testEngine) readDriverData(t testing.TB, container, key string) string {
	t.Helper()
	c, err := s.InspectContainer(container)
	must(t, err)
	return c.GraphDriver.Data[key]
}

// readLayerID returns the ID of a container's layer.
func (s *testEngine) readLayerID(t testing.TB, container string) string {
	t.Helper()
	return path.Base(path.Dir(s.readDriverData(t, container, "UpperDir")))
}

// hostPath translates a path in the plugin's mount name space into the host's.
func (s *testEngine) hostPath(t testing.TB, inPlugin string) string {
	t.Helper()
	const mount = "/var/lib/overlayzfs"
	rest, ok := strings.CutPrefix(inPlugin, mount)
	if !ok {
		t.Errorf("%s does not lie below %s", inPlugin, mount)
	}
	return filepath.Join(propagatedMountOf(t, s.Engine), rest)
}

// requireLimitDatasets returns the datasets below the store's: those of limited layers. It
// waits until there are that many: a new one gets its layer's name, and that of a removed layer
// is destroyed, in the background.
func (s *testEngine) requireLimitDatasets(t testing.TB, want int) (all []string) {
	t.Helper()
	err := poll(func() error {
		if all = inguest.ListDatasets(t, s.dataset)[1:]; len(all) != want {
			return fmt.Errorf("limited layers have the datasets %q, want %d", all, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// requireOneDataset returns the only dataset of a limited layer. It fails the test
// unless that dataset belongs to the container.
func (s *testEngine) requireOneDataset(t testing.TB, container string) string {
	t.Helper()
	all := s.requireLimitDatasets(t, 1)
	if owner := readProperty(t, all[0], "overlayzfs:layer"); owner != s.readLayerID(t, container) {
		t.Errorf("dataset %s is that of layer %s, want %s", all[0], owner, s.readLayerID(t, container))
	}
	if said := s.readDriverData(t, container, "Dataset"); said != all[0] {
		t.Errorf("docker inspect names dataset %s, want %s", said, all[0])
	}
	return all[0]
}

func readProperty(t testing.TB, dataset, name string) string {
	t.Helper()
	return run(t, "zfs", "get", "-Hp", "-o", "value", name, dataset)
}

// requireDetached fails the test while a container's dataset is mounted.
func (s *testEngine) requireDetached(t testing.TB) {
	t.Helper()
	err := poll(func() error {
		for _, m := range listMounts(t) {
			if strings.HasPrefix(m.Source, s.dataset+"/") {
				return fmt.Errorf("%s is mounted on %s", m.Source, m.Target)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// requireNoLimitRecords fails the test when the store still records a limit of a layer.
func (s *testEngine) requireNoLimitRecords(t testing.TB) {
	t.Helper()
	home := s.storeDir(t)
	err := poll(func() error {
		entries, err := os.ReadDir(filepath.Join(home, ".overlayzfs", "limits"))
		var left []string
		for _, entry := range entries {
			raw, unread := os.ReadFile(filepath.Join(home, ".overlayzfs", "limits", entry.Name()))
			if !strings.Contains(string(raw), inguest.SpareLayer) {
				left = append(left, entry.Name())
			}
			err = errors.Join(err, unread)
		}
		return errors.Join(err, compareLists(left, nil))
	})
	if err != nil {
		t.Errorf("records of limits: %v", err)
	}
}

// dialPlugin connects to the plugin's socket beside the engine, as an administrator's
// tool does.
func (s *testEngine) dialPlugin(t testing.TB) *pluginclient.Client {
	t.Helper()
	c := pluginclient.New(filepath.Join("/run/docker/plugins", s.PluginID(t), "overlayzfs.sock"))
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}
