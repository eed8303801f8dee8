package treecopy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
)

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeTree makes one entry of each type that needs no privileges.
func makeTree(t *testing.T) string {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	at := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	no(t, os.MkdirAll(in("d/deeper"), 0o755))
	no(t, os.WriteFile(in("d/file"), []byte("content"), 0o640))
	no(t, os.WriteFile(in("empty"), nil, 0o600))
	no(t, os.Chmod(in("empty"), 0o755|fs.ModeSetuid))
	no(t, os.Link(in("d/file"), in("other-name")))
	no(t, os.Link(in("d/file"), in("d/deeper/third")))
	no(t, os.Symlink("/etc/passwd", in("d/link")))
	no(t, unix.Mkfifo(in("fifo"), 0o622))
	no(t, unix.Mknod(in("gone"), unix.S_IFCHR, 0)) // a whiteout; no privilege since Linux 5.8
	for _, name := range []string{"d/file", "empty", "fifo", "d/deeper", "d"} {
		no(t, os.Chtimes(in(name), at, at.Add(time.Hour)))
	}
	no(t, os.Chmod(in("d"), 0o500))
	t.Cleanup(func() { os.Chmod(in("d"), 0o700) })
	return dir
}

// openBoth opens the tree and an empty directory.
func openBoth(t *testing.T, dir string) (src, dst *os.File) {
	t.Helper()
	src, err := os.Open(dir)
	no(t, err)
	dst, err = os.Open(t.TempDir())
	no(t, err)
	t.Cleanup(func() {
		src.Close()
		dst.Close()
		os.Chmod(filepath.Join(dst.Name(), "d"), 0o700)
	})
	return src, dst
}

func same(t *testing.T, got, want string) {
	t.Helper()
	var g, w unix.Stat_t
	no(t, errors.Join(unix.Lstat(got, &g), unix.Lstat(want, &w)))
	if g.Mode != w.Mode || g.Uid != w.Uid || g.Gid != w.Gid || g.Rdev != w.Rdev || g.Nlink != w.Nlink {
		t.Errorf("%s is %o of %d:%d, %d names; want %o of %d:%d, %d", got, g.Mode, g.Uid, g.Gid, g.Nlink, w.Mode, w.Uid, w.Gid, w.Nlink)
	}
	if w.Mode&unix.S_IFMT != unix.S_IFDIR && g.Size != w.Size {
		t.Errorf("%s has %d bytes, want %d", got, g.Size, w.Size)
	}
	if w.Mode&unix.S_IFMT != unix.S_IFCHR && g.Mtim != w.Mtim {
		t.Errorf("%s is from %v, want %v", got, g.Mtim, w.Mtim)
	}
}

func TestUpper(t *testing.T) {
	dir := makeTree(t)
	src, dst := openBoth(t, dir)
	var copied int64
	no(t, Upper(t.Context(), dst, src, Options{Copied: func(n int64) { copied += n }}))
	for _, name := range []string{".", "d", "d/deeper", "d/deeper/third", "d/file", "d/link", "empty", "fifo", "gone", "other-name"} {
		same(t, filepath.Join(dst.Name(), name), filepath.Join(dir, name))
	}
	if raw, err := os.ReadFile(filepath.Join(dst.Name(), "d/deeper/third")); err != nil || string(raw) != "content" {
		t.Errorf("%q, %v", raw, err)
	}
	if copied != int64(len("content")) {
		t.Errorf("%d bytes were said to be copied", copied)
	}
	if err := Upper(t.Context(), dst, src, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over what is there: %v", err)
	}
}

// TestChanges copies what is named, the directories above it, and deletions.
func TestChanges(t *testing.T) {
	dir := makeTree(t)
	src, dst := openBoth(t, dir)
	no(t, Changes(t.Context(), dst, src, []treediff.Change{
		{Path: "/d/deeper", Kind: treediff.Modify}, {Path: "/d/deeper/third", Kind: treediff.Add}, {Path: "/d/was-here", Kind: treediff.Delete},
		{Path: "/other-name", Kind: treediff.Modify},
	}, Options{}))
	var st unix.Stat_t
	no(t, unix.Lstat(filepath.Join(dst.Name(), "d/was-here"), &st))
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("a deletion is %o", st.Mode)
	}
	for _, name := range []string{".", "d", "d/deeper"} {
		same(t, filepath.Join(dst.Name(), name), filepath.Join(dir, name))
	}
	var a, b unix.Stat_t
	no(t, errors.Join(unix.Lstat(filepath.Join(dst.Name(), "other-name"), &a), unix.Lstat(filepath.Join(dst.Name(), "d/deeper/third"), &b)))
	if a.Ino != b.Ino {
		t.Error("two names of one file are two files")
	}
	for _, name := range []string{"d/file", "empty", "d/link"} {
		if _, err := os.Lstat(filepath.Join(dst.Name(), name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was not named, and is there: %v", name, err)
		}
	}
}

// TestChangesOfAnOverlayInside: what an overlay in the container wrote for itself would
// hide files of the container.
func TestChangesOfAnOverlayInside(t *testing.T) {
	dir := t.TempDir()
	src, dst := openBoth(t, dir)
	no(t, unix.Mknod(filepath.Join(dir, "gone"), overlayfs.WhiteoutMode, overlayfs.WhiteoutNum))
	err := Changes(t.Context(), dst, src, []treediff.Change{{Path: "/gone", Kind: treediff.Add}}, Options{})
	if !errors.Is(err, fault.Unsupported) {
		t.Errorf("%v", err)
	}
	c := copier{plain: true}
	for name, want := range map[string]bool{"trusted.overlay.opaque": true, "trusted.overlay.overlay.opaque": true, "trusted.overlay.origin": false, "user.mine": false} {
		if c.innerXattr(name) != want {
			t.Errorf("%s is refused: %t", name, !want)
		}
	}
}

// TestMergeUpper changes a tree as an overlay of the two would show it.
func TestMergeUpper(t *testing.T) {
	upper, tree := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{"kept": "kept", "changed": "old", "gone": "x", "tree/gone/deep": "x", "dir-then-file/x": "x", "file-then-dir": "x", "d/below": "below"} {
		no(t, os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755))
		no(t, os.WriteFile(filepath.Join(tree, name), []byte(content), 0o600))
	}
	for name, content := range map[string]string{"changed": "new", "added/deep": "added", "dir-then-file": "file", "file-then-dir/x": "x", "d/above": "above"} {
		no(t, os.MkdirAll(filepath.Dir(filepath.Join(upper, name)), 0o750))
		no(t, os.WriteFile(filepath.Join(upper, name), []byte(content), 0o640))
	}
	no(t, os.Mkdir(filepath.Join(upper, "tree"), 0o700))
	for _, name := range []string{"gone", "tree/gone", "never-there"} {
		no(t, unix.Mknod(filepath.Join(upper, name), unix.S_IFCHR, 0))
	}
	no(t, os.Link(filepath.Join(upper, "changed"), filepath.Join(upper, "d/link")))
	no(t, unix.Setxattr(filepath.Join(tree, "d"), "user.gone", []byte("x"), 0))
	no(t, unix.Setxattr(filepath.Join(tree, "d"), "user.kept", []byte("old"), 0))
	no(t, unix.Setxattr(filepath.Join(upper, "d"), "user.kept", []byte("new"), 0))
	src, _ := openBoth(t, upper)
	dst, err := os.Open(tree)
	no(t, err)
	defer dst.Close()
	no(t, MergeUpper(t.Context(), dst, src, Options{}))
	got := map[string]string{}
	no(t, filepath.WalkDir(tree, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			raw, readErr := os.ReadFile(name)
			rel, relErr := filepath.Rel(tree, name)
			got[rel], err = string(raw), errors.Join(readErr, relErr)
		}
		return err
	}))
	want := map[string]string{
		"kept": "kept", "changed": "new", "d/link": "new", "d/below": "below", "d/above": "above", "added/deep": "added", "dir-then-file": "file", "file-then-dir/x": "x",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if names, err := fsat.ListXattr(int(dst.Fd()), "d"); err != nil || !slices.Equal(names, []string{"user.kept"}) {
		t.Errorf("a directory that was there has the attributes %q, %v", names, err)
	}
	same(t, filepath.Join(tree, "tree"), filepath.Join(upper, "tree"))
	same(t, filepath.Join(tree, "changed"), filepath.Join(upper, "changed"))
}

// TestNoSymlinkIsFollowed: a directory that became one leads nowhere.
func TestNoSymlinkIsFollowed(t *testing.T) {
	dir := t.TempDir()
	no(t, os.Symlink("/etc", filepath.Join(dir, "d")))
	src, dst := openBoth(t, dir)
	if err := Changes(t.Context(), dst, src, []treediff.Change{{Path: "/d/passwd", Kind: treediff.Add}}, Options{}); err == nil {
		t.Error("a file outside of the tree was copied")
	}
}

// TestOverlayAttributes: what ties a file to another layer is not copied, and what
// cannot be left out is refused.
func TestOverlayAttributes(t *testing.T) {
	for name, tt := range map[string]struct {
		value string
		keep  bool
		fails bool
	}{
		"trusted.overlay.opaque":         {"y", true, false},
		"trusted.overlay.origin":         {"x", false, false},
		"trusted.overlay.impure":         {"y", false, false},
		"trusted.overlay.redirect":       {"/x", false, true},
		"trusted.overlay.metacopy":       {"", false, true},
		"trusted.overlay.protattr":       {"a", false, true},
		"trusted.overlay.whiteout":       {"y", false, true},
		"trusted.overlay.overlay.opaque": {"y", true, false},
		"user.mine":                      {"x", true, false},
		"security.capability":            {"x", true, false},
	} {
		keep, err := wanted(name, []byte(tt.value))
		if keep != tt.keep || (err != nil) != tt.fails {
			t.Errorf("%s: %v, %v", name, keep, err)
		}
	}
	if keep, err := wanted("trusted.overlay.opaque", []byte("x")); keep || err != nil {
		t.Errorf("an opaque that hides nothing: %v, %v", keep, err)
	}
}

// TestBtrfsAttributesAreNotCopied: a data-root with a compression of its own has files with
// that attribute, and no other file system takes it.
func TestBtrfsAttributesAreNotCopied(t *testing.T) {
	for name, want := range map[string]bool{"btrfs.compression": false, "user.btrfs": true, "security.capability": true} {
		if got, err := wanted(name, []byte("zstd")); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestHolesStayHoles: of a file with data before, between and after them.
func TestHolesStayHoles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "sparse")
	f, err := os.Create(name)
	no(t, err)
	for _, at := range []int64{0, 8 << 20} {
		_, err = f.WriteAt([]byte("data"), at)
		no(t, err)
	}
	no(t, errors.Join(f.Truncate(32<<20), f.Sync(), f.Close()))
	src, dst := openBoth(t, dir)
	no(t, Upper(t.Context(), dst, src, Options{}))
	want, err := os.ReadFile(name)
	no(t, err)
	got, err := os.ReadFile(filepath.Join(dst.Name(), "sparse"))
	no(t, err)
	if !slices.Equal(got, want) {
		t.Error("the content differs")
	}
	var st unix.Stat_t
	no(t, unix.Lstat(filepath.Join(dst.Name(), "sparse"), &st))
	if st.Blocks*512 > 8<<20 {
		t.Errorf("the copy takes %d bytes", st.Blocks*512)
	}
}
