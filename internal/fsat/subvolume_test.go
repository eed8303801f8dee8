package fsat

import (
	"os"
	"testing"
	"unsafe"

	"github.com/containerd/continuity/fs/fstest"
)

// TestOthersThanSubvolumesAreRemoved: a backup restores a subvolume as a directory, and a name
// may be missing.
func TestOthersThanSubvolumesAreRemoved(t *testing.T) {
	dir, path := tree(t, fstest.CreateDir("layer/deep", 0o755), fstest.CreateFile("layer/deep/file", nil, 0o600), fstest.CreateFile("file", nil, 0o600))
	for _, name := range []string{"layer", "file", "missing"} {
		if err := RemoveSubvolume(t.Context(), fd(dir), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(path); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// The number of an ioctl has the size of what it takes.
func TestTheSizeOfABtrfsArgument(t *testing.T) {
	if got, want := unsafe.Sizeof(volArgs{}), uintptr(snapDestroy>>16&0x3fff); got != want {
		t.Errorf("%d bytes, and the number says %d", got, want)
	}
}
