package fsat

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/continuity/fs/fstest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// recorder is a visitor that writes down what it is shown.
type recorder struct{ saw []string }

func (r *recorder) Enter(_ int, p Path, _ int) error {
	r.saw = append(r.saw, "> "+p.String())
	return nil
}

func (r *recorder) File(_ int, p Path, _ uint8) error {
	r.saw = append(r.saw, p.String())
	return nil
}

func (r *recorder) Leave(_ int, p Path) error {
	r.saw = append(r.saw, "< "+p.String())
	return nil
}

func TestWalkOrder(t *testing.T) {
	dir, _ := tree(t,
		fstest.CreateDir("b/c", 0o755), fstest.CreateFile("b/a", nil, 0o600), fstest.CreateFile("b/d", nil, 0o600),
		fstest.CreateFile("a", nil, 0o600), fstest.CreateFile("b-", nil, 0o600), fstest.Symlink("b", "c"), fstest.CreateDir("empty", 0o755))
	var r recorder
	if err := Walk(t.Context(), fd(dir), true, &r); err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "> b", "b/a", "> b/c", "< b/c", "b/d", "< b", "b-", "c", "> empty", "< empty"}
	if diff := cmp.Diff(want, r.saw); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A tree far deeper than the levels that stay open, with branches on the way
// back up.
func TestWalkDeep(t *testing.T) {
	dir, _ := tree(t)
	const depth = 3*openLevels + 7
	makeDeep(t, fd(dir), depth)
	var r recorder
	if err := Walk(t.Context(), fd(dir), true, &r); err != nil {
		t.Fatal(err)
	}
	files, entered, left := 0, 0, 0
	for _, s := range r.saw {
		switch {
		case strings.HasPrefix(s, "> "):
			entered++
		case strings.HasPrefix(s, "< "):
			left++
		default:
			files++
		}
	}
	if entered != 3*depth || left != 3*depth || files != depth {
		t.Errorf("%d directories entered, %d left, %d files", entered, left, files)
	}
}

// makeDeep makes, at each level, directories b, m (the way down) and z/z and
// a file.
func makeDeep(t *testing.T, root, depth int) {
	t.Helper()
	r := NewResolver(root)
	defer r.Forget()
	for i := range depth {
		level := strings.TrimSuffix(strings.Repeat("m/", i), "/")
		at, err := r.Dir(level, make755)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(Mkdir(at, "b", 0o755), Mkdir(at, "m", 0o755), Mkdir(at, "z", 0o755), Mknod(at, "f", unix.S_IFREG|0o600, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWalkNoticesAMovedDirectory(t *testing.T) {
	dir, path := tree(t)
	makeDeep(t, fd(dir), openLevels+10)
	moved := false
	err := Walk(t.Context(), fd(dir), true, &mover{func(p Path) error {
		if moved || strings.Count(p.String(), "/") < openLevels+5 {
			return nil
		}
		moved = true
		return os.Rename(filepath.Join(path, "m/m/m"), filepath.Join(path, "elsewhere"))
	}})
	if !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
}

type mover struct{ enter func(Path) error }

func (m *mover) Enter(_ int, p Path, _ int) error { return m.enter(p) }
func (*mover) File(int, Path, uint8) error        { return nil }
func (*mover) Leave(int, Path) error              { return nil }

func TestWalkPassesErrorsOn(t *testing.T) {
	dir, _ := tree(t, fstest.CreateDir("a/b", 0o755))
	stop := errors.New("stop")
	if err := Walk(t.Context(), fd(dir), false, &mover{func(Path) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestRemoveAll(t *testing.T) {
	dir, path := tree(t,
		fstest.CreateDir("d/e/f", 0o755), fstest.CreateFile("d/e/x", nil, 0o600), fstest.CreateDir("keep", 0o755), fstest.CreateFile("keep/me", nil, 0o600),
		fstest.Symlink("../keep", "d/link"), fstest.Symlink("keep", "link"), fstest.CreateFile("file", nil, 0o600))
	makeDeep(t, fd(dir), openLevels+20)
	for _, name := range []string{"d", "link", "file", "none", "m"} {
		if err := RemoveAll(t.Context(), fd(dir), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(path, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(path, "keep/me")); err != nil {
		t.Errorf("a symlink was followed: %v", err)
	}
}

// directoryRemover removes each directory before the walk reads it.
type directoryRemover struct{ entered int }

func (r *directoryRemover) Enter(parent int, path Path, _ int) error {
	r.entered++
	return Rmdir(parent, path.Name)
}
func (r *directoryRemover) File(int, Path, uint8) error { return nil }
func (r *directoryRemover) Leave(int, Path) error       { return nil }

func TestWalkOfDirectoriesThatVanish(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "a"), 0o755), os.Mkdir(filepath.Join(dir, "b"), 0o755)); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var r directoryRemover
	if err := Walk(t.Context(), int(root.Fd()), false, &r); err != nil || r.entered != 2 {
		t.Errorf("entered %d directories: %v", r.entered, err)
	}
}

// makeWide makes, in each of many nested directories, more names than a portion has in the
// uppermost and some in the others.
func makeWide(t *testing.T, root int) (files int) {
	t.Helper()
	r := NewResolver(root)
	defer r.Forget()
	name := func(i int) string { return strings.Repeat("n", 200) + strconv.Itoa(i) }
	for depth := range openLevels + 10 {
		at, err := r.Dir(strings.TrimSuffix(strings.Repeat("m/", depth), "/"), make755)
		if err != nil {
			t.Fatal(err)
		}
		count := 5
		if depth < 2 {
			count = 1500 // five portions
		}
		for i := range count {
			if err := Mknod(at, name(i), unix.S_IFREG|0o600, 0); err != nil {
				t.Fatal(err)
			}
		}
		files += count
	}
	return files
}

// TestWideDirectories are read in portions, also after the walk has closed them on its way
// down.
func TestWideDirectories(t *testing.T) {
	dir, path := tree(t)
	files := makeWide(t, fd(dir))
	var r recorder
	if err := Walk(t.Context(), fd(dir), false, &r); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range r.saw {
		if seen[s] {
			t.Fatalf("%.100q was shown twice", s)
		}
		seen[s] = true
	}
	if want := files + 2*(openLevels+9); len(seen) != want {
		t.Errorf("%d calls, want %d", len(seen), want)
	}
	if err := RemoveContents(t.Context(), fd(dir)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) > 0 {
		t.Errorf("%d entries are left, %v", len(left), err)
	}
}

// TestUnsortedWalksHoldPortions: a directory of many long names takes little memory at once.
func TestUnsortedWalksHoldPortions(t *testing.T) {
	dir, _ := tree(t)
	makeWide(t, fd(dir))
	most := 0
	w := &treeWalk{}
	w.visitor = &fileCounter{func() {
		held := 0
		for _, l := range w.levels {
			held += len(l.entries)
		}
		most = max(most, held)
	}}
	if err := w.walk(t.Context(), fd(dir)); err != nil || most == 0 || most > 2000 {
		t.Errorf("%d names were held, %v", most, err)
	}
}

// fileCounter calls look for each file.
type fileCounter struct{ look func() }

func (*fileCounter) Enter(int, Path, int) error    { return nil }
func (c *fileCounter) File(int, Path, uint8) error { c.look(); return nil }
func (*fileCounter) Leave(int, Path) error         { return nil }
