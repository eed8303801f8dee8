//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	t.Run("ClassicBuildsLikeOnVFS", func(t *testing.T) { l.compareBuilds(t, images.Classic) })
	t.Run("ClassicStepsLikeOnVFS", l.compareSteps)
	t.Run("BuildKitBuildsLikeOnVFS", func(t *testing.T) { l.compareBuilds(t, images.BuildKit) })
	t.Run("SavedImagesLoadOnTheOther", l.loadOnTheOther)
	t.Run("ReportedImages", l.loadReported)
	t.Run("ChangesOfSameSizeAndTime", l.findSameTimeChanges)
	t.Run("ContainerChangesAndCommits", l.changeAndCommit)
	t.Run("ContainersRunInParallel", l.runContainersInParallel)
	t.Run("BuildsRunInParallel", l.buildInParallel)
	t.Run("PruneRemovesEverything", l.pruneEverything)
}

// loadOnTheOther saves an image on each engine and loads it on the other.
func (l *imageLab) loadOnTheOther(t *testing.T) {
	for _, c := range []struct {
		image    string
		from, to *engine.Engine
	}{
		{l.buildStage(t, images.Classic, "everything"), l.ours, l.vfs},
		{l.buildStage(t, images.Classic, "changes"), l.vfs, l.ours},
	} {
		what := fmt.Sprintf("%s from %s to %s", c.image, c.from.Driver, c.to.Driver)
		saved, path, err := images.Save(c.from, l.dir, c.image)
		must(t, err)
		defer saved.Close()
		tree, err := saved.Tree()
		must(t, err)
		out := c.to.Docker(t, "load", "-i", path)
		must(t, os.Remove(path))
		if got := c.to.Docker(t, "image", "inspect", "-f", "{{.Id}}", c.image); got != saved.ID {
			t.Errorf("%s is %s, and was %s\n%s", what, got, saved.ID, out)
		}
		mounted, err := images.ReadImage(c.to, c.image)
		must(t, err)
		options := images.MountedOptions(treecmp.Options{MTimes: true})
		if c.to == l.vfs {
			options.Xattrs = l.optionsForVFS().Xattrs
		}
		images.RequireSame(t, what, mounted, tree, options)
		again, _, err := images.Save(c.to, l.dir, c.image) // verified
		must(t, err)
		must(t, again.Close())
	}
}

// loadReported loads images of kinds that were reported, and verifies their layers.
func (l *imageLab) loadReported(t *testing.T) {
	images.RequireReported(t, l.ours, l.dir, func(r images.Reported) string { return r.Want })
	out, code := runOperator(t, "verify", "--config-file", l.ours.UsedConfig())
	if code != 0 {
		t.Errorf("verify exits with %d\n%s", code, out)
	}
}

// changeAndCommit changes a container in every way and commits it.
func (l *imageLab) changeAndCommit(t *testing.T) {
	e := l.ours
	e.Docker(t, "run", "-d", "--network", "none", "--name", "one", "odds", "sleep", "1000000")
	e.MustExec(t, "one", "sh", "-ec", `cd /lower
		echo more >>keep-file; rm delete-file; rm -r delete-dir; rm -r opaque-dir; mkdir opaque-dir; echo new >opaque-dir/new
		chmod 4711 suid; mkdir made; echo in >made/in; ln -sfn made link; ln hard-a hard-e; mknod node c 1 5; rm file-to-dir; mkdir file-to-dir
		touch -d '2001-02-03 04:05:06' /caps/touched`)
	in := images.WriteContext(t, map[string]string{"tree/a": "a\n", "tree/b c/d": "d\n"})
	e.Docker(t, "cp", "-a", filepath.Join(in, "tree"), "one:/lower/copied-in")
	e.Docker(t, "cp", filepath.Join(in, "tree", "a"), "one:/lower/copied-over")

	// hard-a is copied up for its new link hard-e, and does not change.
	want := []string{
		"A /lower/copied-in", "A /lower/copied-in/a", "A /lower/copied-in/b c", "A /lower/copied-in/b c/d", "A /lower/hard-e",
		"A /lower/made", "A /lower/made/in", "A /lower/node", "A /lower/opaque-dir/new", "C /caps", "C /caps/touched", "C /lower",
		"C /lower/copied-over", "C /lower/file-to-dir", "C /lower/keep-file", "C /lower/link", "C /lower/opaque-dir",
		"C /lower/suid", "D /lower/delete-dir", "D /lower/delete-file", "D /lower/opaque-dir/old", "D /lower/opaque-dir/sub",
	}
	got := strings.Split(e.Docker(t, "diff", "one"), "\n")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docker diff:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	before, err := images.ReadContainer(e, "one")
	must(t, err)
	e.Docker(t, "commit", "-m", "changed", "one", "committed")
	after, err := images.ReadImage(e, "committed")
	must(t, err)
	images.RequireSame(t, "a container and the image made of it", before, after, images.MountedOptions(treecmp.Options{MTimes: true}))
	if out := e.Docker(t, "run", "--rm", "--network", "none", "committed", "cat", "/lower/keep-file", "/lower/copied-in/b c/d"); out != "this is lower/keep-file\nmore\nd" {
		t.Errorf("the committed image holds %q", out)
	}
	l.compareCopy(t, "one", before)
	saved, _, err := images.Save(e, l.dir, "committed")
	must(t, err)
	defer saved.Close()
	layers, err := saved.Tree()
	must(t, err)
	images.RequireSame(t, "the committed image and its layers", after, layers, images.LayerOptions)
	e.RemoveContainers(t, "one")
	e.Docker(t, "rmi", "committed")
	if out, err := e.Try("run", "--rm", "--network", "none", "odds", "cat", "/lower/keep-file"); err != nil || out != "this is lower/keep-file" {
		t.Errorf("the image below holds %q, %v", out, err)
	}
}

// compareCopy compares the output of docker cp with the container's own files.
func (l *imageLab) compareCopy(t *testing.T, container string, tree *treecmp.Tree) {
	t.Helper()
	out := t.TempDir()
	l.ours.Docker(t, "cp", "-a", container+":/lower", out)
	copied, err := treecmp.FromDir(filepath.Join(out, "lower"))
	must(t, err)
	part := new(treecmp.Tree)
	for _, e := range tree.Entries {
		if path, ok := strings.CutPrefix(e.Path, "lower/"); ok {
			inside := *e
			inside.Path, inside.Names = path, nil
			for _, name := range e.Names {
				if name, ok := strings.CutPrefix(name, "lower/"); ok {
					inside.Names = append(inside.Names, name)
				}
			}
			part.Entries = append(part.Entries, &inside)
		}
	}
	images.RequireSame(t, "docker cp out of a container", part, copied, treecmp.Options{MTimes: true, Xattrs: func(name string) bool { return name == images.Capability }})
}

// runContainersInParallel runs six containers of one image, which write to the same
// names. Each must see its own files.
func (l *imageLab) runContainersInParallel(t *testing.T) {
	const containers = 6
	one := func(n int) error {
		name := fmt.Sprintf("at-once-%d", n)
		script := fmt.Sprintf(`for i in $(seq 20); do echo %[1]d.$i >>/lower/keep-file; echo %[1]d >/own-%[1]d-$i; done
			rm -r /lower/opaque-dir; mkdir /lower/opaque-dir; echo %[1]d >/lower/opaque-dir/%[1]d; chown %[1]d /lower/suid`, n)
		if _, err := l.ours.Try("run", "--name", name, "--network", "none", "odds", "sh", "-ec", script); err != nil {
			return err
		}
		out, err := l.ours.Try("diff", name)
		if err != nil {
			return err
		}
		got := strings.Split(out, "\n")
		want := []string{
			"C /lower", "C /lower/keep-file", "C /lower/opaque-dir", "C /lower/suid", fmt.Sprintf("A /lower/opaque-dir/%d", n),
			"D /lower/opaque-dir/old", "D /lower/opaque-dir/sub",
		}
		for i := range 20 {
			want = append(want, fmt.Sprintf("A /own-%d-%d", n, i+1))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			return fmt.Errorf("docker diff %s: %q, want %q", name, got, want)
		}
		return l.checkAndRemove(name, n)
	}
	var all []func() error
	for n := range containers {
		all = append(all, func() error { return one(n + 1) })
	}
	must(t, inguest.RunParallel(all...))
	image, err := images.ReadImage(l.ours, "odds")
	must(t, err)
	images.RequireSame(t, "the image below the containers and a fresh one", image, readTree(t, images.WriteOdds), images.LayerOptions)
}

// checkAndRemove checks a stopped container's file through docker cp, and removes the
// container.
func (l *imageLab) checkAndRemove(name string, n int) error {
	cmd := l.ours.Command("cp", name+":/lower/keep-file", "-")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("docker cp from %s: %w", name, err)
	}
	want := "this is lower/keep-file\n"
	for i := range 20 {
		want += fmt.Sprintf("%d.%d\n", n, i+1)
	}
	if !strings.Contains(string(out), want) {
		return fmt.Errorf("%s holds %q, want %q", name, out, want)
	}
	_, err = l.ours.Try("rm", "-f", name)
	return err
}

// readTree returns the tree of an image as it is written, without an engine.
func readTree(t testing.TB, write func(io.Writer) error) *treecmp.Tree {
	t.Helper()
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	tree, err := treecmp.FromTar(r)
	must(t, err)
	return tree
}

// buildInParallel builds three images on one base in parallel, by both builders. Two of
// them have the same first step.
func (l *imageLab) buildInParallel(t *testing.T) {
	var all []func() error
	for n, b := range []images.Builder{images.Classic, images.BuildKit, images.Classic} {
		image := fmt.Sprintf("at-once:%d", n)
		dir := images.WriteContext(t, map[string]string{
			"payload": fmt.Sprintf("payload %d\n", n),
			"Dockerfile": fmt.Sprintf("FROM odds\nRUN rm -r /lower/keep-dir && mkdir /lower/keep-dir\nCOPY payload /payload\n"+
				"RUN echo %d >/lower/keep-dir/number && echo more >>/payload && rm /lower/keep-file\n", n),
		})
		all = append(all, func() error {
			if err := b.Build(l.ours, image, dir, "--no-cache"); err != nil {
				return err
			}
			out, err := l.ours.Try("run", "--rm", "--network", "none", image, "sh", "-c", "cat /payload /lower/keep-dir/*; ls /lower/keep-dir; test -e /lower/keep-file || echo gone")
			if want := fmt.Sprintf("payload %d\nmore\n%d\nnumber\ngone", n, n); err == nil && out != want {
				err = fmt.Errorf("%s holds %q, want %q", image, out, want)
			}
			if err != nil {
				return err
			}
			saved, _, err := images.Save(l.ours, l.dir, image)
			if err != nil {
				return err
			}
			return saved.Close()
		})
	}
	must(t, inguest.RunParallel(all...))
}

// pruneEverything removes all images and containers. Neither layers nor used space may
// remain.
func (l *imageLab) pruneEverything(t *testing.T) {
	e := l.ours
	if ids := strings.Fields(e.Docker(t, "ps", "-aq")); len(ids) > 0 {
		e.RemoveContainers(t, ids...)
	}
	if layers, err := listRemains(l.store); err != nil || len(layers) == 0 {
		t.Fatalf("the store holds %q before pruning: %v", layers, err)
	}
	e.Docker(t, "rmi", "odds")
	if out := e.Docker(t, "images", "-q", "odds"); out != "" {
		t.Errorf("rmi left %s", out)
	}
	e.Docker(t, "system", "prune", "-af", "--volumes")
	if out := e.Docker(t, "images", "-aq"); out != "" {
		t.Errorf("images are left: %s", out)
	}
	waitFor(t, func() error {
		left, err := listRemains(l.store)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("the store still holds %q", left)
		}
		return err
	})
	const slack = 2 << 20 // directories do not shrink, nor does the metadata of ZFS
	waitFor(t, func() error {
		if used := inguest.UsedSpace(t, l.dataset); used > l.used+slack {
			return fmt.Errorf("%d bytes are used, %d at the start", used, l.used)
		}
		return nil
	})
}

// listRemains lists layers, short links and unfinished layers in a store.
func listRemains(store string) ([]string, error) {
	entries, err := os.ReadDir(store)
	var left []string
	for _, entry := range entries {
		if name := entry.Name(); name != "l" && name != ".overlayzfs" {
			left = append(left, name)
		}
	}
	err = errors.Join(err, awaitReaper(store))
	for _, dir := range []string{"l", ".overlayzfs/new", ".overlayzfs/apply", ".overlayzfs/building"} {
		entries, readErr := os.ReadDir(filepath.Join(store, dir))
		err = errors.Join(err, readErr)
		for _, entry := range entries {
			left = append(left, dir+"/"+entry.Name())
		}
	}
	return left, err
}
