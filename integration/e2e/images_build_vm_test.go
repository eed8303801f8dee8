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

// likeVfs is how our trees compare with those of vfs, which copies no extended
// attributes but capabilities, and takes a directory of which only the time is
// new, because a file in it came and went, for unchanged.
func (l *imageLab) likeVfs() treecmp.Options {
	return treecmp.Options{
		MTimesBefore:  l.start,
		LooseLinks:    images.AcrossLayers,
		LooseDirTimes: true,
		Xattrs:        func(name string) bool { return name == images.Capability },
	}
}

// stage builds a stage of the Dockerfile on both engines, once, and returns
// the image's name.
func (l *imageLab) stage(t testing.TB, b images.Builder, stage string) string {
	t.Helper()
	image := stage + ":" + b.Name
	if l.built[image] {
		return image
	}
	if stage != "changes" && !l.built["debian"] {
		must(t, l.each(func(e *engine.Engine) error { return images.Import(e, "debian", images.WriteDebian) }))
		l.built["debian"] = true
	}
	dir := images.Everything(t)
	must(t, l.each(func(e *engine.Engine) error {
		began := time.Now()
		err := b.Build(e, image, dir, "--target", stage)
		t.Logf("%s on %s: built in %v", image, e.Driver, time.Since(began).Round(time.Second))
		return err
	}))
	l.built[image] = true
	return image
}

// builds checks what a builder makes on our driver against vfs: every layer's
// digest, the tree after every layer, and the trees that containers see.
func (l *imageLab) builds(t *testing.T, b images.Builder) {
	for _, stage := range []string{"changes", "packages", "everything"} {
		t.Run(stage, func(t *testing.T) { l.sameLayers(t, b, stage) })
	}
}

func (l *imageLab) sameLayers(t *testing.T, b images.Builder, stage string) {
	image := l.stage(t, b, stage)
	var ours, vfs []*treecmp.Tree
	states := func(e *engine.Engine, into *[]*treecmp.Tree) func() error {
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
	must(t, inguest.RunParallel(states(l.ours, &ours), states(l.vfs, &vfs), func() (err error) {
		mounted, err = images.Mounted(l.ours, image)
		return err
	}))
	if len(ours) != len(vfs) {
		t.Fatalf("%d layers, and %d on vfs", len(ours), len(vfs))
	}
	for n := range ours {
		images.Same(t, fmt.Sprintf("%s after layer %d, ours and on vfs", image, n), ours[n], vfs[n], l.likeVfs())
		if t.Failed() {
			break // the next layers differ for the same reason
		}
	}
	top := ours[len(ours)-1]
	images.Same(t, image+" in a container and its layers", mounted, top, images.OwnLayers)
	images.Same(t, image+" in a container and the layers of vfs", mounted, vfs[len(vfs)-1], images.MountedOptions(l.likeVfs()))
	switch stage {
	case "changes":
		images.Hold(t, mounted, images.InChanges)
		images.Hidden(t, mounted)
	case "everything":
		images.Hold(t, mounted, images.InChanges)
		images.Hold(t, mounted, map[string]func(*treecmp.Entry) error{"big": images.Sized(200 << 20), "sparse": images.Sized(50 << 20)})
	}
}

// sameSteps runs some of the images that the classic builder leaves after each
// step, on both engines.
func (l *imageLab) sameSteps(t *testing.T) {
	image := l.stage(t, images.Classic, "everything")
	var ours, vfs []string
	must(t, inguest.RunParallel(
		func() (err error) { ours, err = steps(l.ours, image); return err },
		func() (err error) { vfs, err = steps(l.vfs, image); return err },
	))
	if len(ours) != len(vfs) || len(ours) < 15 {
		t.Fatalf("%d steps, and %d on vfs", len(ours), len(vfs))
	}
	for _, n := range []int{3, len(ours) / 2, len(ours) - 1} {
		var a, b *treecmp.Tree
		must(t, inguest.RunParallel(
			func() (err error) { a, err = images.Mounted(l.ours, ours[n]); return err },
			func() (err error) { b, err = images.Mounted(l.vfs, vfs[n]); return err },
		))
		images.Same(t, fmt.Sprintf("step %d in a container, ours and on vfs", n), a, b, images.MountedOptions(l.likeVfs()))
	}
}

// steps lists the images that led to one, the base first.
func steps(e *engine.Engine, image string) ([]string, error) {
	out, err := e.Try("history", "-q", "--no-trunc", image)
	if err != nil {
		return nil, err
	}
	ids := slices.DeleteFunc(strings.Fields(out), func(id string) bool { return id == "<missing>" })
	slices.Reverse(ids)
	return ids, nil
}
