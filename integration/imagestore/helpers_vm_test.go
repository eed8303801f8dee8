//go:build vm

package imagestore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// Short names for helpers that every test calls.
var (
	must     = inguest.Must
	waitFor  = inguest.WaitFor
	parallel = inguest.RunParallel
)

// testEngine is an engine on the snapshotter, with its containerd.
type testEngine struct {
	*engine.Engine
	containerd *engine.Containerd
	dataset    string
	dir        string // on the root disk
}

// newTestEngine starts an engine on a new dataset, with these settings of the
// snapshotter.
func newTestEngine(t testing.TB, settings map[string]string) *testEngine {
	t.Helper()
	s := &testEngine{dataset: "tank/layers", dir: inguest.MakeDiskDir(t)}
	engine.CreateDataset(t, s.dataset)
	s.containerd = engine.StartContainerd(t, engine.ContainerdOptions{
		Root: filepath.Join(s.dir, "containerd"), Dataset: s.dataset, Settings: settings,
	})
	root := filepath.Join(s.dir, "docker")
	t.Cleanup(func() { inguest.UnmountAt(t, root) })
	s.Engine = s.containerd.StartEngine(t, root)
	return s
}

// startReference starts an engine on containerd's overlayfs, in another name space of
// the same containerd.
func (s *testEngine) startReference(t testing.TB) *engine.Engine {
	t.Helper()
	return engine.Start(t, engine.Options{
		Root: filepath.Join(s.dir, "docker-overlayfs"), Driver: "overlayfs", Containerd: s.containerd.Address(),
		Config: map[string]any{
			"features": map[string]bool{"containerd-snapshotter": true}, "containerd-namespace": "reference",
		},
	})
}

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// imageLab is an engine on the snapshotter beside one on containerd's overlayfs.
type imageLab struct {
	*testEngine
	overlayfs *engine.Engine
	used      int64     // space of the dataset without layers
	start     time.Time // before anything that the tests make
	built     map[string]bool
}

func newImageLab(t *testing.T) *imageLab {
	t.Helper()
	l := &imageLab{start: time.Now().Add(-time.Minute), built: make(map[string]bool)}
	l.testEngine = newTestEngine(t, nil)
	l.used = inguest.UsedSpace(t, l.dataset)
	l.overlayfs = l.startReference(t)
	must(t, l.runBothEngines(func(e *engine.Engine) error { return images.Import(e, "odds", images.WriteOdds) }))
	return l
}

// runBothEngines calls do with both engines in parallel.
func (l *imageLab) runBothEngines(do func(e *engine.Engine) error) error {
	one := func(e *engine.Engine) func() error {
		return func() error {
			if err := do(e); err != nil {
				return fmt.Errorf("%s: %w", e.Driver, err)
			}
			return nil
		}
	}
	return parallel(one(l.Engine), one(l.overlayfs))
}

// readMounted returns an image's trees in containers of both engines.
func (l *imageLab) readMounted(t testing.TB, image string) (ours, other *treecmp.Tree) {
	t.Helper()
	must(t, parallel(
		func() (err error) { ours, err = images.ReadImage(l.Engine, image); return err },
		func() (err error) { other, err = images.ReadImage(l.overlayfs, image); return err },
	))
	return ours, other
}

// builtOptions returns how trees compare that two engines built. Files that a build
// makes have the time of that build.
func (l *imageLab) builtOptions() treecmp.Options {
	return treecmp.Options{MTimesBefore: l.start}
}
