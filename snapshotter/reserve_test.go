package snapshotter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestReserve(t *testing.T) {
	r := reserve(filepath.Join(t.TempDir(), reserveName))
	for range 2 {
		if err := r.ensure(); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(string(r)); err != nil || fi.Size() != reserveSize {
			t.Errorf("%v, %v", fi, err)
		}
	}
	for range 2 {
		if err := r.release(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(string(r)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := reserve(filepath.Join(t.TempDir(), "none", reserveName)).ensure(); err == nil {
		t.Error("a reserve nowhere")
	}
}

func TestIsFull(t *testing.T) {
	for _, err := range []error{unix.ENOSPC, unix.EDQUOT, &os.PathError{Err: unix.ENOSPC}, errors.Join(errTest, unix.EDQUOT), fault.New(fault.NoSpace, "x")} {
		if !isFull(err) {
			t.Errorf("%v", err)
		}
	}
	for _, err := range []error{nil, errTest, unix.EIO} {
		if isFull(err) {
			t.Errorf("%v", err)
		}
	}
}

// TestTheReserveIsThereFromTheStart, and comes back with a cleanup.
func TestTheReserveIsThereFromTheStart(t *testing.T) {
	s := openFake(t, t.TempDir(), newFakeStore(), Options{})
	for range 2 {
		if _, err := os.Lstat(string(s.reserve)); err != nil {
			t.Error(err)
		}
		if err := s.reserve.release(); err != nil {
			t.Error(err)
		}
		if err := s.Cleanup(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
