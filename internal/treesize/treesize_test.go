package treesize

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAdd(t *testing.T) {
	file := unix.Stat_t{Dev: 1, Ino: 2, Mode: unix.S_IFREG, Nlink: 1, Size: 10, Blocks: 3}
	linked, elsewhere, dir, link := file, file, file, file
	linked.Nlink = 2
	elsewhere.Dev, elsewhere.Nlink = 9, 2
	dir.Mode, dir.Nlink = unix.S_IFDIR, 5
	link.Mode, link.Ino = unix.S_IFLNK, 4
	for name, c := range map[string]struct {
		files []unix.Stat_t
		want  [4]int64 // inodes, allocated, apparent, regular
	}{
		"nothing":          {nil, [4]int64{}},
		"file":             {[]unix.Stat_t{file}, [4]int64{1, 1536, 10, 10}},
		"hard links":       {[]unix.Stat_t{linked, linked, linked}, [4]int64{1, 1536, 10, 10}},
		"two file systems": {[]unix.Stat_t{linked, elsewhere, elsewhere}, [4]int64{2, 3072, 20, 20}},
		"directories":      {[]unix.Stat_t{dir, dir}, [4]int64{2, 3072, 0, 0}},
		"symlink":          {[]unix.Stat_t{link}, [4]int64{1, 1536, 10, 0}},
	} {
		var s Sum
		for _, st := range c.files {
			s.Add(st)
		}
		if got := [4]int64{s.Inodes, s.Allocated, s.Apparent, s.Regular}; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestManyFilesWithSeveralNames adds more of them than a Sum remembers, whose names come in no
// order.
func TestManyFilesWithSeveralNames(t *testing.T) {
	const files = maxLinked + 1000
	var s Sum
	for name := range 3 {
		for i := range files {
			file := unix.Stat_t{Dev: 1, Ino: uint64(i), Mode: unix.S_IFREG, Nlink: 2, Size: int64(i), Blocks: 3}
			if i%7 == 0 {
				file.Mode = unix.S_IFLNK
			}
			if i%2 == 0 {
				file.Nlink = 3
			} else if name == 2 {
				continue
			}
			s.Add(file)
		}
	}
	var apparent, regular int64
	for i := range int64(files) {
		apparent += i
		if i%7 != 0 {
			regular += i
		}
	}
	if len(s.linked) > maxLinked || len(s.rests) != 2 {
		t.Errorf("%d files and %d shares are remembered", len(s.linked), len(s.rests))
	}
	got, want := [4]int64{s.Inodes, s.Allocated, s.Apparent, s.Regular}, [4]int64{files, files * 1536, apparent, regular}
	if got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "a/b"), 0o755),
		os.WriteFile(filepath.Join(dir, "a/b/f"), make([]byte, 100), 0o644),
		os.Link(filepath.Join(dir, "a/b/f"), filepath.Join(dir, "g")),
		os.Symlink("a/b", filepath.Join(dir, "l")))
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s, err := Walk(t.Context(), int(root.Fd()))
	if err != nil || s.Inodes != 5 || s.Apparent != 103 || s.Regular != 100 {
		t.Errorf("%+v, %v", s, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := Walk(ended, int(root.Fd())); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
