//go:build vm

package fsat

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/continuity/fs/fstest"
	"golang.org/x/sys/unix"
)

// Nothing here reaches into another mount, however it is asked for.
func TestMountsAreNotCrossed(t *testing.T) {
	dir, path := tree(t, fstest.CreateDir("a/mnt", 0o755), fstest.CreateDir("other", 0o755), fstest.CreateFile("other/precious", nil, 0o600))
	mnt := filepath.Join(path, "a/mnt")
	if err := unix.Mount(filepath.Join(path, "other"), mnt, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	}()
	if err := RemoveAll(t.Context(), fd(dir), "a"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("RemoveAll: %v", err)
	}
	if _, err := os.Stat(filepath.Join(path, "other/precious")); err != nil {
		t.Error(err)
	}
	r := NewResolver(fd(dir))
	defer r.Forget()
	if got, err := r.Dir("a/mnt", nil); !errors.Is(err, unix.EXDEV) {
		t.Errorf("Dir: %d, %v", got, err)
	}
}

func TestRemoveAllNeedsNoPermissions(t *testing.T) {
	dir, _ := tree(t, fstest.CreateDir("a/b", 0o700), fstest.CreateFile("a/b/c", nil, 0), fstest.Chmod("a/b", 0), fstest.Chmod("a", 0))
	if err := RemoveAll(t.Context(), fd(dir), "a"); err != nil {
		t.Error(err)
	}
}
