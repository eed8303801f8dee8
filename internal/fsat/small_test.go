package fsat

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSmallFiles(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 5000} {
		path := filepath.Join(t.TempDir(), "file")
		want := bytes.Repeat([]byte("x"), size)
		if err := WriteSmall(path, want, 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSmall(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
		if err := WriteSmall(path, nil, 0o640); !errors.Is(err, fs.ErrExist) {
			t.Errorf("written over an existing file: %v", err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}
	if _, err := ReadSmall(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := ReadSmall(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
}
