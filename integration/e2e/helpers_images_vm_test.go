//go:build vm

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// imageLab is an engine on the plugin beside one on vfs.
type imageLab struct {
	ours, vfs *engine.Engine
	dataset   string
	store     string    // the plugin's layers on the host
	used      int64     // space of the dataset without layers
	start     time.Time // before anything that the tests make
	dir       string    // for archives
	built     map[string]bool
}

func newImageLab(t *testing.T) *imageLab {
	t.Helper()
	l := &imageLab{dataset: "tank/images", dir: inguest.MakeDiskDir(t), start: time.Now().Add(-time.Minute), built: make(map[string]bool)}
	l.vfs = engine.Start(t, engine.Options{Root: inguest.MakeDiskDir(t), Driver: "vfs"})
	l.ours = engine.StartOnPlugin(t, engine.Options{Root: inguest.MakeDiskDir(t)}, l.dataset)
	l.store = findStore(t, l.dataset)
	l.used = inguest.UsedSpace(t, l.dataset)
	must(t, l.runBothEngines(func(e *engine.Engine) error { return images.Import(e, "odds", images.WriteOdds) }))
	return l
}

// runBothEngines calls do with both engines in parallel.
func (l *imageLab) runBothEngines(do func(e *engine.Engine) error) error {
	return inguest.RunParallel(func() error { return labelEngineError("ours", do(l.ours)) }, func() error { return labelEngineError("vfs", do(l.vfs)) })
}

func labelEngineError(who string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	return nil
}

// findStore returns the directory of the host where the dataset is mounted.
func findStore(t testing.TB, dataset string) string {
	t.Helper()
	out := run(t, "findmnt", "-n", "-o", "TARGET", "-S", dataset)
	store, _, _ := strings.Cut(out, "\n")
	return store
}
