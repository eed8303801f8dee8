//go:build vm

package imagestore

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// TestImages shares two engines among its parts. Each part builds the images it lacks,
// so that it can run alone. The last part empties the store.
func TestImages(t *testing.T) {
	l := newImageLab(t)
	t.Run("ImagesLieInOurStore", l.requireSnapshotter)
	t.Run("BuildKitBuildsLikeOnOverlayfs", l.compareBuilds)
	t.Run("SavedImagesLoadOnTheOther", l.loadOnTheOther)
	t.Run("ReportedImages", l.loadReported)
	t.Run("PushedImagesPullOnTheOther", l.pullOnTheOther)
	t.Run("ContainerChangesAndCommits", l.changeAndCommit)
	t.Run("BuildsRunInParallel", l.buildInParallel)
	t.Run("PruneRemovesEverything", l.pruneEverything)
}

// requireSnapshotter checks that the engine stores its images in our store.
func (l *imageLab) requireSnapshotter(t *testing.T) {
	info := l.Docker(t, "info")
	for _, want := range []string{"Storage Driver: overlayzfs", "driver-type: io.containerd.snapshotter.v1"} {
		if !strings.Contains(info, want) {
			t.Errorf("docker info does not say %q:\n%s", want, info)
		}
	}
	if found, err := engine.SnapshotterLayers(); err != nil || len(found) == 0 {
		t.Errorf("the store holds %q, %v", found, err)
	}
}

func (l *imageLab) compareBuilds(t *testing.T) {
	for _, stage := range []string{"changes", "packages", "everything"} {
		t.Run(stage, func(t *testing.T) { l.compareStage(t, stage) })
	}
}

// buildStage builds a stage of the Dockerfile on both engines, once, and returns the
// image's name.
func (l *imageLab) buildStage(t testing.TB, stage string) string {
	t.Helper()
	image := stage + ":built"
	if l.built[image] {
		return image
	}
	if stage != "changes" && !l.built["debian"] {
		must(t, l.runBothEngines(func(e *engine.Engine) error { return images.Import(e, "debian", images.WriteDebian) }))
		l.built["debian"] = true
	}
	dir := images.WriteEverythingContext(t)
	must(t, l.runBothEngines(func(e *engine.Engine) error { return images.BuildKit.Build(e, image, dir, "--target", stage) }))
	l.built[image] = true
	return image
}

// compareStage compares a stage that BuildKit builds on our snapshotter and on
// overlayfs: the digest of every layer, the tree after every layer, and the trees in
// containers.
func (l *imageLab) compareStage(t *testing.T, stage string) {
	image := l.buildStage(t, stage)
	var ours, other []*treecmp.Tree
	states := func(e *engine.Engine, into *[]*treecmp.Tree) func() error {
		return func() error {
			saved, _, err := images.Save(e, l.dir, image)
			if err != nil {
				return err
			}
			err = treecmp.Stack(saved.Layers(), func(_ int, tree *treecmp.Tree) error {
				*into = append(*into, tree)
				return nil
			})
			return errors.Join(err, saved.Close())
		}
	}
	must(t, parallel(states(l.Engine, &ours), states(l.overlayfs, &other)))
	mounted, mountedOther := l.readMounted(t, image)
	if len(ours) != len(other) {
		t.Fatalf("%d layers, and %d on overlayfs", len(ours), len(other))
	}
	for n := range ours {
		images.RequireSame(t, fmt.Sprintf("%s after layer %d, ours and on overlayfs", image, n), ours[n], other[n], l.builtOptions())
		if t.Failed() {
			break // the next layers differ for the same reason
		}
	}
	images.RequireSame(t, image+" in a container and its layers", mounted, ours[len(ours)-1], images.LayerOptions)
	images.RequireSame(t, image+" in a container, ours and on overlayfs", mounted, mountedOther, images.MountedOptions(l.builtOptions()))
	if stage != "packages" {
		images.RequireEntries(t, mounted, expectedEntries())
	}
	if stage == "changes" {
		images.RequireHidden(t, mounted)
	}
}

// loadReported loads images of kinds that were reported on both engines.
func (l *imageLab) loadReported(t *testing.T) {
	for _, e := range []*engine.Engine{l.Engine, l.overlayfs} {
		images.RequireReported(t, e, l.dir, func(r images.Reported) string { return cmp.Or(r.Containerd, r.Want) })
	}
}

// expectedEntries returns the checks of an image's entries. It omits hard links across
// layers: BuildKit makes the same of them on overlayfs.
func expectedEntries() map[string]func(*treecmp.Entry) error {
	checks := maps.Clone(images.ExpectedEntries)
	for _, path := range images.CrossLayerLinks {
		delete(checks, path)
	}
	return checks
}

// loadOnTheOther saves an image on each engine and loads it on the other.
func (l *imageLab) loadOnTheOther(t *testing.T) {
	image := l.buildStage(t, "changes")
	for _, c := range []struct{ from, to *engine.Engine }{{l.Engine, l.overlayfs}, {l.overlayfs, l.Engine}} {
		what := fmt.Sprintf("%s from %s to %s", image, c.from.Driver, c.to.Driver)
		carried := "carried-from-" + c.from.Driver + ":latest"
		c.from.Docker(t, "tag", image, carried)
		saved, path, err := images.Save(c.from, l.dir, carried)
		must(t, err)
		tree, err := saved.Tree()
		must(t, errors.Join(err, saved.Close()))
		c.to.Docker(t, "load", "-i", path)
		must(t, os.Remove(path))
		id := func(e *engine.Engine) string { return e.Docker(t, "image", "inspect", "-f", "{{.Id}}", carried) }
		if got, want := id(c.to), id(c.from); got != want {
			t.Errorf("%s is %s, and was %s", what, got, want)
		}
		mounted, err := images.ReadImage(c.to, carried)
		must(t, err)
		images.RequireSame(t, what, mounted, tree, images.LayerOptions)
		again, _, err := images.Save(c.to, l.dir, carried) // verified
		must(t, err)
		must(t, again.Close())
		c.to.Docker(t, "rmi", carried)
	}
}

// pullOnTheOther pushes an image from each engine to a registry and pulls it with the
// other.
func (l *imageLab) pullOnTheOther(t *testing.T) {
	image, address := l.buildStage(t, "changes"), engine.StartRegistry(t)
	for _, c := range []struct{ from, to *engine.Engine }{{l.Engine, l.overlayfs}, {l.overlayfs, l.Engine}} {
		pushed := address + "/from-" + c.from.Driver + ":latest"
		must(t, runAll(c.from, []string{"tag", image, pushed}, []string{"push", pushed}))
		c.to.Docker(t, "pull", pushed)
		var before, after *treecmp.Tree
		must(t, parallel(
			func() (err error) { before, err = images.ReadImage(c.from, pushed); return err },
			func() (err error) { after, err = images.ReadImage(c.to, pushed); return err },
		))
		images.RequireSame(t, fmt.Sprintf("%s pushed by %s and pulled by %s", image, c.from.Driver, c.to.Driver), before, after, images.LayerOptions)
	}
}

// changeScript makes changes of every kind to a container.
const changeScript = `cd /lower
	echo more >>keep-file; rm delete-file; rm -r delete-dir; rm -r opaque-dir; mkdir opaque-dir; echo new >opaque-dir/new
	chmod 4711 suid; mkdir made; echo in >made/in; ln -sfn made link; ln hard-a hard-e; mknod node c 1 5; rm file-to-dir; mkdir file-to-dir
	touch -d '2001-02-03 04:05:06' /caps/touched`

// changeAndCommit changes a container on each engine and commits it.
func (l *imageLab) changeAndCommit(t *testing.T) {
	in := images.WriteContext(t, map[string]string{"tree/a": "a\n", "tree/b c/d": "d\n"})
	must(t, l.runBothEngines(func(e *engine.Engine) error {
		return runAll(e,
			[]string{"run", "-d", "--network", "none", "--name", "one", "odds", "sleep", "1000000"},
			[]string{"exec", "one", "sh", "-ec", changeScript},
			[]string{"cp", "-a", in + "/tree", "one:/lower/copied-in"},
			[]string{"cp", in + "/tree/a", "one:/lower/copied-over"},
		)
	}))
	if ours, other := listDiff(t, l.Engine), listDiff(t, l.overlayfs); !slices.Equal(ours, other) {
		t.Errorf("docker diff:\n%s\nand on overlayfs:\n%s", strings.Join(ours, "\n"), strings.Join(other, "\n"))
	}
	before, err := images.ReadContainer(l.Engine, "one")
	must(t, err)
	must(t, l.runBothEngines(func(e *engine.Engine) error {
		return runAll(e, []string{"commit", "-m", "changed", "one", "committed"})
	}))
	after, other := l.readMounted(t, "committed")
	images.RequireSame(t, "a container and the image made of it", before, after, images.LayerOptions)
	images.RequireSame(t, "the image made of a container, ours and on overlayfs", after, other, images.MountedOptions(l.builtOptions()))
	if out := l.Docker(t, "run", "--rm", "--network", "none", "committed", "cat", "/lower/keep-file", "/lower/copied-in/b c/d"); out != "this is lower/keep-file\nmore\nd" {
		t.Errorf("the committed image holds %q", out)
	}
	saved, _, err := images.Save(l.Engine, l.dir, "committed")
	must(t, err)
	committed, err := saved.Tree()
	must(t, errors.Join(err, saved.Close()))
	images.RequireSame(t, "the committed image and its layers", after, committed, images.LayerOptions)
	must(t, l.runBothEngines(func(e *engine.Engine) error {
		return runAll(e, []string{"rm", "-f", "one"}, []string{"rmi", "committed"})
	}))
	if out, err := l.Try("run", "--rm", "--network", "none", "odds", "cat", "/lower/keep-file"); err != nil || out != "this is lower/keep-file" {
		t.Errorf("the image below holds %q, %v", out, err)
	}
}

// listDiff returns the sorted output of docker diff.
func listDiff(t testing.TB, e *engine.Engine) []string {
	t.Helper()
	lines := strings.Split(e.Docker(t, "diff", "one"), "\n")
	slices.Sort(lines)
	if len(lines) < 15 {
		t.Errorf("docker diff on %s: %q", e.Driver, lines)
	}
	return lines
}

// runAll runs docker commands until one fails.
func runAll(e *engine.Engine, commands ...[]string) error {
	for _, args := range commands {
		if _, err := e.Try(args...); err != nil {
			return err
		}
	}
	return nil
}

// buildInParallel builds three images on one base in parallel, all with the same first
// step, while containers of the base run.
func (l *imageLab) buildInParallel(t *testing.T) {
	var parts []func() error
	for n := range 3 {
		dir := images.WriteContext(t, map[string]string{
			"payload": fmt.Sprintf("payload %d\n", n),
			"Dockerfile": fmt.Sprintf("FROM odds\nRUN rm -r /lower/keep-dir && mkdir /lower/keep-dir\nCOPY payload /payload\n"+
				"RUN echo %d >/lower/keep-dir/number && echo more >>/payload && rm /lower/keep-file\n", n),
		})
		parts = append(parts, func() error { return l.buildAndCheck(n, dir) }, func() error {
			out, err := l.Try("run", "--rm", "--network", "none", "odds", "sh", "-ec",
				fmt.Sprintf("echo %d >>/lower/keep-file; rm -r /lower/keep-dir; cat /lower/keep-file", n))
			if want := fmt.Sprintf("this is lower/keep-file\n%d", n); err == nil && out != want {
				err = fmt.Errorf("a container sees %q, want %q", out, want)
			}
			return err
		})
	}
	must(t, parallel(parts...))
}

func (l *imageLab) buildAndCheck(n int, dir string) error {
	image := fmt.Sprintf("at-once:%d", n)
	if err := images.BuildKit.Build(l.Engine, image, dir); err != nil {
		return err
	}
	out, err := l.Try("run", "--rm", "--network", "none", image, "sh", "-c",
		"cat /payload /lower/keep-dir/*; ls /lower/keep-dir; test -e /lower/keep-file || echo gone")
	if want := fmt.Sprintf("payload %d\nmore\n%d\nnumber\ngone", n, n); err == nil && out != want {
		err = fmt.Errorf("%s holds %q, want %q", image, out, want)
	}
	return err
}

// pruneEverything removes all images and containers. Neither layers nor used space may
// remain.
func (l *imageLab) pruneEverything(t *testing.T) {
	if found, err := engine.SnapshotterLayers(); err != nil || len(found) == 0 {
		t.Fatalf("the store holds %q before pruning: %v", found, err)
	}
	if ids := strings.Fields(l.Docker(t, "ps", "-aq")); len(ids) > 0 {
		l.RemoveContainers(t, ids...)
	}
	l.Docker(t, "system", "prune", "-af", "--volumes")
	if out := l.Docker(t, "images", "-aq"); out != "" {
		t.Errorf("images are left: %s", out)
	}
	waitFor(t, engine.CheckNoSnapshotterLayers)
	const slack = 2 << 20 // directories do not shrink, nor does the metadata of ZFS
	waitFor(t, func() error {
		if used := inguest.UsedSpace(t, l.dataset); used > l.used+slack {
			return fmt.Errorf("%d bytes are used, %d at the start", used, l.used)
		}
		return nil
	})
}
