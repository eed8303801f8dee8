package dockerstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestLockDockerd: only one process holds the lock at a time. A data-root that dockerd never
// used has nothing to lock.
func TestLockDockerd(t *testing.T) {
	dir := t.TempDir()
	root, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if f, err := root.LockDockerd(); f != nil || err != nil {
		t.Fatalf("%v, %v", f, err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "volumes"), 0o700), os.WriteFile(filepath.Join(dir, "volumes/metadata.db"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time after the first was given up
		f, err := root.LockDockerd()
		if err != nil || f == nil {
			t.Fatalf("%v, %v", f, err)
		}
		if other, err := root.LockDockerd(); !errors.Is(err, fault.Busy) {
			t.Errorf("%v, %v", other, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLockDockerdOfLinkedVolumes: the administrator moved the volumes to another disk.
func TestLockDockerdOfLinkedVolumes(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Symlink(elsewhere, filepath.Join(dir, "volumes")), os.WriteFile(filepath.Join(elsewhere, "metadata.db"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := root.LockDockerd()
	if err != nil || f == nil {
		t.Fatalf("%v, %v", f, err)
	}
	defer f.Close()
	if other, err := root.LockDockerd(); !errors.Is(err, fault.Busy) {
		t.Errorf("%v, %v", other, err)
	}
}
