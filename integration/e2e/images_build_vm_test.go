//go:build vm

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// optionsForVFS returns how our trees compare with those of vfs. vfs copies no extended
// attributes but capabilities. It sees no change in a directory whose time alone is
// new, because a file in it came and went.
func (l *imageLab) optionsForVFS() treecmp.Options {
	return treecmp.Options{
		MTimesBefore:  l.start,
		LooseLinks:    images.CrossLayerLinks,
		LooseDirTimes: true,
		Xattrs:        func(name string) bool { return name == images.Capability },
	}
}

// buildStage builds a stage of the Dockerfile, once, and returns the image's name. The classic
// builder builds on both engines, BuildKit on ours alone.
func (l *imageLab) buildStage(t testing.TB, b images.Builder, stage string) string {
	t.Helper()
	image := stage + ":" + b.Name
	if l.built[image] {
		return image
	}
	if stage != "changes" && !l.built["debian"] {
		must(t, l.runBothEngines(func(e *engine.Engine) error { return images.Import(e, "debian", images.WriteDebian) }))
		l.built["debian"] = true
	}
	dir := images.WriteEverythingContext(t)
	must(t, l.runBothEngines(func(e *engine.Engine) error {
		if e == l.vfs && b != images.Classic {
			return nil
		}
		began := time.Now()
		err := b.Build(e, image, dir, "--target", stage)
		t.Logf("%s on %s: built in %v", image, e.Driver, time.Since(began).Round(time.Second))
		return err
	}))
	l.built[image] = true
	return image
}

// compareBuilds compares a builder's images on our driver with those of the classic builder on
// vfs: the tree after every layer, whose digest is verified, and the trees in containers. Both
// builders make the same trees, and vfs copies every file for each step.
func (l *imageLab) compareBuilds(t *testing.T, b images.Builder) {
	for _, stage := range []string{"changes", "packages", "everything"} {
		t.Run(stage, func(t *testing.T) { l.compareStage(t, b, stage) })
	}
}

func (l *imageLab) compareStage(t *testing.T, b images.Builder, stage string) {
	image, reference := l.buildStage(t, b, stage), l.buildStage(t, images.Classic, stage)
	var ours, vfs []*treecmp.Tree
	states := func(e *engine.Engine, image string, into *[]*treecmp.Tree) func() error {
		return func() error {
			saved, _, err := images.Save(e, l.dir, image)
			if err != nil {
				return err
			}
			defer saved.Close()
			return treecmp.Stack(saved.Layers(), func(_ int, tree *treecmp.Tree) error {
				*into = append(*into, tree)
				return nil
			})
		}
	}
	var mounted *treecmp.Tree
	must(t, inguest.RunParallel(states(l.ours, image, &ours), states(l.vfs, reference, &vfs), func() (err error) {
		mounted, err = images.ReadImage(l.ours, image)
		return err
	}))
	if len(ours) != len(vfs) {
		t.Fatalf("%d layers, and %d on vfs", len(ours), len(vfs))
	}
	for n := range ours {
		images.RequireSame(t, fmt.Sprintf("%s after layer %d, ours and on vfs", image, n), ours[n], vfs[n], l.optionsForVFS())
		if t.Failed() {
			break // the next layers differ for the same reason
		}
	}
	top := ours[len(ours)-1]
	images.RequireSame(t, image+" in a container and its layers", mounted, top, images.LayerOptions)
	images.RequireSame(t, image+" in a container and the layers of vfs", mounted, vfs[len(vfs)-1], images.MountedOptions(l.optionsForVFS()))
	switch stage {
	case "changes":
		images.RequireEntries(t, mounted, images.ExpectedEntries)
		images.RequireHidden(t, mounted)
	case "everything":
		images.RequireEntries(t, mounted, images.ExpectedEntries)
		images.RequireEntries(t, mounted, map[string]func(*treecmp.Entry) error{"big": images.HasSize(80 << 20), "sparse": images.HasSize(50 << 20)})
	}
}

// compareSteps compares some of the images that the classic builder leaves after each
// step.
func (l *imageLab) compareSteps(t *testing.T) {
	image := l.buildStage(t, images.Classic, "everything")
	var ours, vfs []string
	must(t, inguest.RunParallel(
		func() (err error) { ours, err = listSteps(l.ours, image); return err },
		func() (err error) { vfs, err = listSteps(l.vfs, image); return err },
	))
	if len(ours) != len(vfs) || len(ours) < 15 {
		t.Fatalf("%d steps, and %d on vfs", len(ours), len(vfs))
	}
	for _, n := range []int{3, len(ours) / 2, len(ours) - 1} {
		var a, b *treecmp.Tree
		must(t, inguest.RunParallel(
			func() (err error) { a, err = images.ReadImage(l.ours, ours[n]); return err },
			func() (err error) { b, err = images.ReadImage(l.vfs, vfs[n]); return err },
		))
		images.RequireSame(t, fmt.Sprintf("step %d in a container, ours and on vfs", n), a, b, images.MountedOptions(l.optionsForVFS()))
	}
}

// listSteps lists the images that led to an image, the base first.
func listSteps(e *engine.Engine, image string) ([]string, error) {
	out, err := e.Try("history", "-q", "--no-trunc", image)
	if err != nil {
		return nil, err
	}
	ids := slices.DeleteFunc(strings.Fields(out), func(id string) bool { return id == "<missing>" })
	slices.Reverse(ids)
	return ids, nil
}
