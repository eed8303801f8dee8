//go:build vm

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// findSameTimeChanges changes files so that their sizes and times stay, as reproducible
// builds do. `docker diff`, `docker commit` and `docker build --squash` must find each change;
// moby's drivers miss some.
func (l *imageLab) findSameTimeChanges(t *testing.T) {
	e := l.ours
	base, change := images.SameTimeLayers(t)
	e.Docker(t, "load", "-i", images.WriteArchive(t, "same-time:base", []string{"/bin/busybox"}, images.BusyboxLayer(t), base))
	want, err := treecmp.FromLayers(bytes.NewReader(images.BusyboxLayer(t)), bytes.NewReader(base), bytes.NewReader(change))
	must(t, err)

	e.Docker(t, "create", "--network", "none", "--name", "same-time", "same-time:base")
	copyIn := e.Command("cp", "-", "same-time:/")
	copyIn.Stdin = bytes.NewReader(change)
	if out, err := copyIn.CombinedOutput(); err != nil {
		t.Fatalf("docker cp: %v\n%s", err, out)
	}
	got := strings.Split(e.Docker(t, "diff", "same-time"), "\n")
	slices.Sort(got)
	if !slices.Equal(got, images.SameTimeChanges) {
		t.Errorf("docker diff: %q, want %q", got, images.SameTimeChanges)
	}
	e.Docker(t, "commit", "same-time", "same-time:committed")
	l.requireTree(t, "same-time:committed", want)

	dir := images.WriteContext(t, map[string]string{"Dockerfile": "FROM same-time:base\nADD change.tar /\nCOPY Dockerfile /more\n"})
	must(t, os.WriteFile(filepath.Join(dir, "change.tar"), change, 0o600))
	must(t, images.Classic.Build(e, "same-time:squashed", dir, "--squash"))
	l.requireTree(t, "same-time:squashed", want)
	e.Docker(t, "rm", "same-time")
}

// requireTree checks that an image has these entries, in a container and in its saved
// layers. It may have more.
func (l *imageLab) requireTree(t *testing.T, image string, want *treecmp.Tree) {
	t.Helper()
	mounted, err := images.ReadImage(l.ours, image)
	must(t, err)
	saved, path, err := images.Save(l.ours, l.dir, image)
	must(t, err)
	defer saved.Close()
	layers, err := saved.Tree()
	must(t, err)
	must(t, os.Remove(path))
	for what, tree := range map[string]*treecmp.Tree{" in a container": mounted, " as saved": layers} {
		part := new(treecmp.Tree)
		for _, e := range want.Entries {
			if found, ok := tree.Find(e.Path); ok {
				part.Entries = append(part.Entries, found)
			}
		}
		if differences := treecmp.Compare(part, want, images.LayerOptions); len(differences) > 0 {
			t.Errorf("%s%s, and as it was made:\n%s", image, what, strings.Join(differences, "\n"))
		}
	}
}
