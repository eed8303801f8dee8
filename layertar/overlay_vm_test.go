//go:build vm

package layertar

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// stack is a real overlay mount over a lower directory.
type stack struct{ lower, upper, merged string }

func mountStack(t *testing.T, lower string) stack {
	t.Helper()
	s := newStack(t, lower)
	s.mount(t)
	return s
}

func (s stack) mount(t *testing.T) {
	t.Helper()
	work := filepath.Join(filepath.Dir(s.upper), "work")
	options := "lowerdir=" + s.lower + ",upperdir=" + s.upper + ",workdir=" + work + ",index=off,redirect_dir=off,metacopy=off"
	if err := unix.Mount("overlay", s.merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(s.merged, 0); err != nil {
			t.Error(err)
		}
	})
}

func aLowerLayer(t *testing.T) string {
	return extract(t,
		aFile("keep", "kept"), aFile("gone", "x"), aFile("dir/a", "a"), aFile("dir/b", "b"),
		aFile("replaced/old", "old"), aFile("edit", "before"), aSymlink("link", "keep"),
	)
}

// change is what a container does to the lower layer.
const change = `set -e
rm gone dir/a
rm -r replaced; mkdir replaced; echo new > replaced/new
printf after > edit; ln -sfn edit link
mkdir -p fresh/deep; mkfifo fresh/pipe; ln edit fresh/hard
chmod 700 dir
`

// An upper that the kernel wrote goes through a tar into another upper, and
// the view on the same lower layer is the same.
func TestAnUpperWrittenByTheKernel(t *testing.T) {
	lower := aLowerLayer(t)
	s := mountStack(t, lower)
	run(t, s.merged, change)
	data := packTree(t, s.upper)
	headers, _ := readTar(t, data)
	want := []string{
		"dir/", "dir/.wh.a", "edit", "fresh/", "fresh/deep/", "fresh/hard", "fresh/pipe",
		".wh.gone", "link", "replaced/", "replaced/.wh..wh..opq", "replaced/new",
	}
	if diff := cmp.Diff(want, namesOf(headers)); diff != "" {
		t.Errorf("the layer (-want +got):\n%s", diff)
	}

	other := newStack(t, lower)
	dir := openDir(t, other.upper)
	size, err := Extract(t.Context(), dir, bytes.NewReader(data), Options{})
	if err != nil {
		t.Fatal(err)
	}
	expectSize(t, dir, size)
	expectSize(t, openDir(t, s.upper), size)
	other.mount(t)
	if diff := cmp.Diff(view(t, s.merged), view(t, other.merged)); diff != "" {
		t.Errorf("the merged views differ (-original +restored):\n%s", diff)
	}
}

// newStack prepares a stack, not mounted yet.
func newStack(t *testing.T, lower string) stack {
	t.Helper()
	base := t.TempDir()
	s := stack{lower, filepath.Join(base, "upper"), filepath.Join(base, "merged")}
	for _, dir := range []string{s.upper, s.merged, filepath.Join(base, "work")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func run(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// view is a tree as a tar of it shows it, without what no tar carries.
func view(t *testing.T, root string) map[string]tar.Header {
	t.Helper()
	headers, bodies := readTar(t, packTree(t, root))
	files := make(map[string]tar.Header)
	for _, h := range headers {
		files[h.Name] = tar.Header{
			Typeflag: h.Typeflag, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, Size: h.Size,
			Linkname: h.Linkname, ModTime: h.ModTime.UTC(), Uname: bodies[h.Name],
		}
	}
	return files
}

// A list of differences of merged views, packed, applies like the upper.
func TestEntriesOfAMergedView(t *testing.T) {
	lower := aLowerLayer(t)
	s := mountStack(t, lower)
	run(t, s.merged, change)
	var buf bytes.Buffer
	err := PackEntries(t.Context(), openDir(t, s.merged), []Entry{
		{Path: "dir"}, {Path: "dir/a", Deleted: true}, {Path: "edit"}, {Path: "fresh"}, {Path: "fresh/deep"}, {Path: "fresh/hard"},
		{Path: "fresh/pipe"}, {Path: "gone", Deleted: true}, {Path: "link"}, {Path: "replaced"},
		{Path: "replaced/new"}, {Path: "replaced/old", Deleted: true},
	}, &buf, Options{})
	if err != nil {
		t.Fatal(err)
	}
	other := newStack(t, lower)
	if _, err := Extract(t.Context(), openDir(t, other.upper), &buf, Options{}); err != nil {
		t.Fatal(err)
	}
	other.mount(t)
	if diff := cmp.Diff(view(t, s.merged), view(t, other.merged)); diff != "" {
		t.Errorf("the merged views differ (-original +restored):\n%s", diff)
	}
}
