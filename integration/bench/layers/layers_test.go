package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
)

func TestTarsHaveTheirShape(t *testing.T) {
	for _, s := range []Shape{Small, Base, {Name: "odd", Dirs: 1, Files: 3, Bytes: 1000}} {
		dirs := map[string]bool{}
		entries, size := 0, int64(0)
		r := tar.NewReader(s.Open())
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			entries++
			size += h.Size
			if h.Typeflag == tar.TypeDir {
				dirs[h.Name] = true
			}
		}
		if entries != s.Entries() || len(dirs) != s.Dirs {
			t.Errorf("%s: %d entries, %d directories, want %d, %d", s.Name, entries, len(dirs), s.Entries(), s.Dirs)
		}
		if size > s.Bytes || size < s.Bytes-int64(s.Files) {
			t.Errorf("%s: %d bytes, want nearly %d", s.Name, size, s.Bytes)
		}
	}
}

func TestTarsAreAlwaysTheSame(t *testing.T) {
	var sums [2][]byte
	for i := range sums {
		hash := sha256.New()
		if _, err := Small.WriteTo(hash); err != nil {
			t.Fatal(err)
		}
		sums[i] = hash.Sum(nil)
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("sha256 %x and %x", sums[0], sums[1])
	}
}

func TestATarCanBeClosedEarly(t *testing.T) {
	r := Large.Open()
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
