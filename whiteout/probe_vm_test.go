//go:build vm

package whiteout

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// A file system as new as the lab's has everything: here "missing" is a bug
// of the probe's.
func TestProbeReal(t *testing.T) {
	dir := t.TempDir()
	if err := Probe(t.Context(), dir); err != nil {
		t.Error(err)
	}
	expectEmpty(t, dir)
}

func TestProbeReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ro")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mountReadOnly(t, dir)
	err := Probe(t.Context(), dir)
	if fault.ClassOf(err) != fault.ReadOnly {
		t.Errorf("class %q: %v", fault.ClassOf(err), err)
	}
}

// mountReadOnly binds dir on itself, read-only, until the test ends.
func mountReadOnly(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}
