//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// The tests of images call these all the time.
var (
	must       = inguest.Must
	eventually = inguest.Eventually
	atOnce     = inguest.AtOnce
)

// imageLab is an engine on the plugin beside one on vfs.
type imageLab struct {
	ours, vfs *engine.Engine
	dataset   string
	store     string    // our layers, as the host sees them
	used      int64     // the dataset's size without layers
	start     time.Time // older than all that the tests make
	dir       string    // for archives
	built     map[string]bool
}

func newImageLab(t *testing.T) *imageLab {
	t.Helper()
	l := &imageLab{dataset: "tank/images", dir: onDisk(t), start: time.Now().Add(-time.Minute), built: make(map[string]bool)}
	l.vfs = engine.Start(t, engine.Options{Root: onDisk(t), Driver: "vfs"})
	l.ours = engine.StartOnPlugin(t, engine.Options{Root: onDisk(t)}, l.dataset)
	l.store = storeOf(t, l.dataset)
	l.used = usedBy(t, l.dataset)
	must(t, l.each(func(e *engine.Engine) error { return images.Import(e, "odds", images.WriteOdds) }))
	return l
}

// onDisk is a directory on the root disk, where vfs copies fastest.
func onDisk(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "images-")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// each does the same with both engines at once.
func (l *imageLab) each(do func(e *engine.Engine) error) error {
	return atOnce(func() error { return wrapped("ours", do(l.ours)) }, func() error { return wrapped("vfs", do(l.vfs)) })
}

func wrapped(who string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	return nil
}

// storeOf is where the host sees the dataset.
func storeOf(t testing.TB, dataset string) string {
	t.Helper()
	out, err := exec.Command("findmnt", "-n", "-o", "TARGET", "-S", dataset).CombinedOutput()
	if err != nil {
		t.Fatalf("findmnt %s: %v\n%s", dataset, err, out)
	}
	store, _, _ := strings.Cut(string(out), "\n")
	return store
}

// usedBy is the space of a dataset once everything that was freed is free.
func usedBy(t testing.TB, dataset string) int64 {
	t.Helper()
	var used int64
	for _, args := range [][]string{{"zpool", "sync"}, {"zfs", "get", "-Hpo", "value", "used", dataset}} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		_, _ = fmt.Sscan(string(out), &used) // the first prints nothing
	}
	return used
}

// archive saves an image and opens what comes out. Every layer must have the
// digest it is recorded with.
func (l *imageLab) archive(e *engine.Engine, image string) (*treecmp.Image, string, error) {
	path := filepath.Join(l.dir, fmt.Sprintf("%s-%s.tar", e.Driver, strings.NewReplacer(":", "-", "/", "-").Replace(image)))
	if _, err := e.Try("save", "-o", path, image); err != nil {
		return nil, "", err
	}
	saved, err := treecmp.OpenImage(path)
	if err != nil {
		return nil, "", err
	}
	if err := saved.Verify(); err != nil {
		return nil, "", errors.Join(fmt.Errorf("image %s of driver %s: %w", image, e.Driver, err), saved.Close())
	}
	return saved, path, nil
}
