//go:build vm

package quota

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheNumberOfFilesIsLimited freezes the layer's space at the limit, and thaws it.
func TestTheNumberOfFilesIsLimited(t *testing.T) {
	s := newStore(t, Dataset)
	const limit = 300
	layer := s.add("files", Spec{Limits: Limits{Bytes: 200 * mib, Inodes: limit}})
	s.attach(layer)
	diff := filepath.Join(layer.Dir, "diff")
	wantError(t, makeFiles(diff, limit+10_000), unix.EDQUOT)
	frozen := func() bool { return get(t, s.child(layer), "refquota") != fmt.Sprint(200*mib) }
	eventually(t, "frozen", frozen)
	wantError(t, os.WriteFile(filepath.Join(diff, "more"), make([]byte, 2*mib), 0o600), unix.EDQUOT)
	wantError(t, makeFiles(filepath.Join(layer.Dir, "work"), 20_000), unix.EDQUOT)
	used, err := s.Usage(layer)
	must(t, err)
	t.Logf("limit %d files, frozen with %d", limit, used.Inodes)

	must(t, s.SetLimits(layer, Limits{Bytes: 200 * mib, Inodes: used.Inodes + 1000}))
	must(t, os.WriteFile(filepath.Join(diff, "raised"), make([]byte, 2*mib), 0o600))
	s.sync()
	used, err = s.Usage(layer)
	must(t, err)
	must(t, s.SetLimits(layer, Limits{Bytes: 200 * mib, Inodes: used.Inodes}))
	eventually(t, "frozen again", frozen)
	for i := range 50 {
		must(t, os.Remove(filepath.Join(diff, fmt.Sprint(i))))
	}
	eventually(t, "thawed", func() bool { return !frozen() })
	must(t, os.WriteFile(filepath.Join(diff, "again"), make([]byte, 2*mib), 0o600))
}

// TestAFrozenLayerIsThawed by Detach, and by the start after a crash.
func TestAFrozenLayerIsThawed(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("frozen", Spec{Limits: Limits{Inodes: 100}})
	s.attach(layer)
	frozen := func() bool { return get(t, s.child(layer), "refquota") != "0" }
	wantError(t, makeFiles(filepath.Join(layer.Dir, "diff"), 10_000), unix.EDQUOT)
	eventually(t, "frozen", frozen)
	s.detach(layer)
	equal(t, "frozen when detached", frozen(), false)
	s.attach(layer)
	eventually(t, "frozen again", frozen)
	s.Close()
	equal(t, "frozen while nobody runs", frozen(), true)
	files, err := os.ReadDir(filepath.Join(layer.Dir, "diff"))
	must(t, err)
	for _, file := range files {
		must(t, os.Remove(filepath.Join(layer.Dir, "diff", file.Name())))
	}
	s.restart(Dataset)
	s.sync()
	eventually(t, "thawed by the next start", func() bool { return !frozen() })
}

// TestABusyLayerIsFrozen freezes a layer that is being filled. The kernel refuses a refquota
// below the usage when it takes effect, and the layer holds more by then. The excess is what a
// container can create while the watch checks and two or three transaction groups end.
func TestABusyLayerIsFrozen(t *testing.T) {
	const limit, excess = 100, 10_000
	for name, size := range map[string]int{"empty": 0, "of 64 KiB": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, Dataset)
			layer := s.add("filling", Spec{Limits: Limits{Inodes: limit}})
			s.attach(layer)
			n, err := writeFilesUntil(filepath.Join(layer.Dir, "diff"), limit+excess, size)
			wantError(t, err, unix.EDQUOT)
			t.Logf("limit %d files: EDQUOT after %d", limit, n)
		})
	}
}

func makeFiles(dir string, n int) error {
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeFilesUntil(dir string, most, size int) (int, error) {
	for i := range most {
		if _, err := writeUntil(filepath.Join(dir, fmt.Sprint(i)), size, 64<<10); err != nil {
			return i, err
		}
	}
	return most, nil
}
