package overlayzfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// TestALockThatIsHeldForAnInstant: a command that looks at the store must not make the start
// of a plugin fail.
func TestALockThatIsHeldForAnInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		look, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := fsat.TryLockShared(int(look.Fd())); err != nil {
			t.Fatal(err)
		}
		if err := (&StoreView{home: home(dir)}).RequireUnused(); err != nil {
			t.Errorf("two that look take each other for a user: %v", err)
		}
		opened := make(chan *os.File)
		go func() {
			f, err := lockHome(t.Context(), home(dir))
			if err != nil {
				t.Error(err)
			}
			opened <- f
		}()
		synctest.Wait()
		if err := look.Close(); err != nil {
			t.Fatal(err)
		}
		lock := <-opened
		defer lock.Close()
		if err := (&StoreView{home: home(dir)}).RequireUnused(); !errors.Is(err, fault.Busy) {
			t.Errorf("an open store: %v", err)
		}
		if _, err := lockHome(t.Context(), home(dir)); !errors.Is(err, fault.Busy) {
			t.Errorf("a second process: %v", err)
		}
	})
}

// TestHomesThatNoOverlayIsMountedFrom: mounts that others make have absolute paths.
func TestHomesThatNoOverlayIsMountedFrom(t *testing.T) {
	for _, name := range []string{"a:b", "a,b", `a\b`} {
		dir := filepath.Join(t.TempDir(), name)
		if _, err := prepareHome(t.Context(), dir, Options{Door: "containerd"}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made: %v", name, err)
		}
		link := filepath.Join(t.TempDir(), "plain")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Symlink(dir, link)); err != nil {
			t.Fatal(err)
		}
		if _, err := prepareHome(t.Context(), link, Options{Door: "containerd"}); !errors.Is(err, fault.Invalid) {
			t.Errorf("a link to %s: %v", name, err)
		}
		// The driver's own mounts are relative to the home.
		if err := checkMountable(dir, Options{}); err != nil {
			t.Errorf("%s of a graphdriver: %v", name, err)
		}
	}
}
