package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	for _, durability := range []Durability{None, Content, ContentAndName} {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		for _, text := range []string{"first", "second"} {
			if err := Replace(path, []byte(text), Options{Mode: 0o600, Durability: durability}); err != nil {
				t.Fatal(err)
			}
			expect(t, path, text)
		}
		expectAlone(t, dir)
	}
}

func TestReplaceBelowARoot(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := Options{Mode: 0o600, Durability: ContentAndName, Root: root}
	if err := Replace("file", []byte("x"), o); err != nil {
		t.Fatal(err)
	}
	expect(t, filepath.Join(dir, "file"), "x")
	if err := Replace("../file", []byte("x"), o); err == nil {
		t.Error("a path above the root was written")
	}
}

// TestReplaceDoesNotFollowALeftover puts a link where the new content is written first.
func TestReplaceDoesNotFollowALeftover(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "file")
	if err := os.Symlink(outside, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("x"), Options{Mode: 0o600, Suffix: ".new"}); err != nil {
		t.Fatal(err)
	}
	expect(t, outside, "untouched")
	expect(t, path, "x")
}

func TestReplaceThatFailsLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	fill := func(w io.Writer) error { _, err := w.Write([]byte("part")); return errors.Join(err, broken) }
	if err := ReplaceFrom(path, fill, Options{Mode: 0o600}); !errors.Is(err, broken) {
		t.Errorf("a failed write gave %v", err)
	}
	prepare := func(*os.File) error { return broken }
	if err := Replace(path, []byte("new"), Options{Mode: 0o600, Prepare: prepare}); !errors.Is(err, broken) {
		t.Errorf("a failed preparation gave %v", err)
	}
	expect(t, path, "old")
	expectAlone(t, dir)
}

func expect(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}

func expectAlone(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%s holds %v, %v; want the one file", dir, entries, err)
	}
}
