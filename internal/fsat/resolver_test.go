package fsat

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/continuity/fs/fstest"
	"golang.org/x/sys/unix"
)

// make755 is a Maker that makes what is missing and replaces nothing.
func make755(dirfd int, _, name string, exists bool) error {
	if exists {
		return unix.EEXIST
	}
	return Mkdir(dirfd, name, 0o755)
}

func TestResolverLikeAChroot(t *testing.T) {
	dir, path := tree(t,
		fstest.CreateDir("run", 0o755), fstest.CreateDir("a/b/c", 0o755), fstest.CreateDir("proc/self", 0o755),
		fstest.Symlink("/run", "abs"), fstest.Symlink("../a", "a/self"), fstest.Symlink("/a/b/../self/b", "odd"),
		fstest.Symlink("/proc/self", "magic"), fstest.Symlink("../..", "a/b/top"),
	)
	r := NewResolver(fd(dir))
	defer r.Forget()
	for from, to := range map[string]string{
		"": "", ".": "", "run": "run", "abs": "run", "a/self/b/c": "a/b/c", "odd/c": "a/b/c",
		"magic": "proc/self", "a/b/top/run": "run", "a/b/top/abs": "run", "a/b/c": "a/b/c",
	} {
		for range 2 { // the second answer is the cached one
			got, err := r.Dir(from, nil)
			if err != nil || !same(t, got, filepath.Join(path, to)) {
				t.Errorf("%q is not %q: %v", from, to, err)
			}
		}
	}
}

// same reports whether the descriptor and the path lead to the same file.
func same(t *testing.T, dirfd int, path string) bool {
	t.Helper()
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(dirfd, &a), unix.Stat(path, &b)); err != nil {
		t.Fatal(err)
	}
	return a.Dev == b.Dev && a.Ino == b.Ino
}

func TestResolverStaysInside(t *testing.T) {
	dir, path := tree(t,
		fstest.CreateDir("a", 0o755), fstest.CreateFile("file", nil, 0o600),
		fstest.Symlink("..", "up"), fstest.Symlink("/../..", "absup"), fstest.Symlink("a/../..", "odd"),
		fstest.Symlink("../up", "a/chain"), fstest.Symlink("loop", "loop"), fstest.Symlink("file", "tofile"), fstest.Symlink("none", "dangling"),
	)
	for up, to := range map[string]string{
		"..": "", "../a": "a", "up": "", "absup/a": "a", "odd": "", "a/chain": "", "../../up/../a": "a", "odd/../a/../..": "",
	} {
		r := NewResolver(fd(dir))
		if got, err := r.Dir(up, nil); err != nil || !same(t, got, filepath.Join(path, to)) {
			t.Errorf("%q does not lead to %q: %v", up, to, err)
		}
		r.Forget()
	}
	for path, want := range map[string]error{
		"../x": unix.ENOENT, "absup/x": unix.ENOENT,
		"loop": unix.ELOOP, "file": unix.ENOTDIR, "file/x": unix.ENOTDIR, "tofile": unix.ENOTDIR, "none": unix.ENOENT, "dangling": unix.ENOENT,
	} {
		r := NewResolver(fd(dir))
		if got, err := r.Dir(path, nil); !errors.Is(err, want) {
			t.Errorf("%q: %d, %v; want %v", path, got, err, want)
		}
		r.Forget()
	}
}

func TestResolverMakesWhatIsMissing(t *testing.T) {
	dir, path := tree(t, fstest.CreateDir("a", 0o755), fstest.Symlink("/new/target", "dangling"), fstest.CreateFile("file", nil, 0o600))
	r := NewResolver(fd(dir))
	defer r.Forget()
	for from, to := range map[string]string{"a/b/c": "a/b/c", "dangling/d": "new/target/d"} {
		if got, err := r.Dir(from, make755); err != nil || !same(t, got, filepath.Join(path, to)) {
			t.Errorf("%q: %v", from, err)
		}
	}
	if _, err := r.Dir("file/x", make755); !errors.Is(err, unix.EEXIST) {
		t.Errorf("the maker's own error: %v", err)
	}
}

func TestStrictResolverPassesNoSymlink(t *testing.T) {
	dir, _ := tree(t, fstest.CreateDir("a", 0o755), fstest.Symlink("a", "l"))
	r := NewStrictResolver(fd(dir))
	defer r.Forget()
	if _, err := r.Dir("a", nil); err != nil {
		t.Error(err)
	}
	if _, err := r.Dir("l", nil); err == nil {
		t.Error("a symlink was passed")
	}
	if _, err := r.Dir("l/"+strings.Repeat("./", 3000), nil); err == nil {
		t.Error("a symlink was passed on a long path")
	}
}

func TestForgetSeesWhatReplacedADirectory(t *testing.T) {
	dir, path := tree(t, fstest.CreateDir("one", 0o755), fstest.CreateDir("two", 0o755), fstest.Symlink("one", "l"))
	r := NewResolver(fd(dir))
	defer r.Forget()
	if _, err := r.Dir("l", nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(path, "l")), os.Symlink("two", filepath.Join(path, "l"))); err != nil {
		t.Fatal(err)
	}
	r.Forget()
	if got, err := r.Dir("l", nil); err != nil || !same(t, got, filepath.Join(path, "two")) {
		t.Errorf("the replaced symlink was not followed: %v", err)
	}
}

// Both directions of a path far beyond PATH_MAX.
func TestLongPaths(t *testing.T) {
	dir, path := tree(t)
	part := strings.Repeat("x", 250)
	long := strings.TrimSuffix(strings.Repeat(part+"/", 60), "/") // 15 KB
	r := NewResolver(fd(dir))
	defer r.Forget()
	deep, err := r.Dir(long, make755)
	if err != nil {
		t.Fatal(err)
	}
	if err := Symlink(strings.Repeat("../", 59)+part, deep, "up"); err != nil {
		t.Fatal(err)
	}
	if err := Symlink("/"+part, deep, "abs"); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"/up", "/abs"} {
		if got, err := r.Dir(long+link, nil); err != nil || same(t, got, path) {
			t.Errorf("%s: %v", link, err)
		}
	}
	if err := RemoveContents(t.Context(), fd(dir)); err != nil {
		t.Fatal(err)
	}
	if empty, err := IsEmpty(fd(dir)); err != nil || !empty {
		t.Errorf("empty is %v, %v", empty, err)
	}
}
