package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// syncSet is a set of open files and directories that become durable together. Its user
// closes it.
type syncSet struct{ fds []int }

// maxSynced is the largest number of files in a syncSet. Above it, syncfs is faster.
const maxSynced = 64

// errNotSyncable is returned for a tree that fsync of its files does not make durable.
var errNotSyncable = fmt.Errorf("it has more than %d files, or one that cannot be opened", maxSynced)

func (s *syncSet) close() {
	for _, fd := range s.fds {
		fsat.CloseQuietly(fd)
	}
}

func (s *syncSet) take(fd int, err error) error {
	if err != nil {
		return err
	}
	s.fds = append(s.fds, fd)
	if len(s.fds) > maxSynced {
		return errNotSyncable
	}
	return nil
}

// addLayer adds the layer's own files.
func (s *syncSet) addLayer(l layer) error {
	dir, err := os.Open(l.dir())
	if err != nil {
		return err
	}
	defer dir.Close()
	err = s.take(fsat.OpenFile(int(dir.Fd()), linkName))
	if err == nil {
		err = s.take(fsat.OpenFile(int(dir.Fd()), lowerName))
	}
	if errors.Is(err, unix.ENOENT) {
		return nil // a base layer has no lower, and a store of overlay2's may lack the link
	}
	return err
}

// addTree adds a directory and all files and directories in it. It returns errNotSyncable
// for a tree with more than their content and attributes.
func (s *syncSet) addTree(ctx context.Context, path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := s.take(fsat.Dup(int(dir.Fd()))); err != nil {
		return err
	}
	return fsat.Walk(ctx, int(dir.Fd()), false, s)
}

// Enter adds a directory.
func (s *syncSet) Enter(_ int, _ fsat.Path, fd int) error { return s.take(fsat.Dup(fd)) }

// File adds a regular file. A symbolic link is a name, unless an owner was set on it.
func (s *syncSet) File(parent int, path fsat.Path, _ uint8) error {
	st, err := fsat.Stat(parent, path.Name)
	if err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFREG:
		return s.take(fsat.OpenFile(parent, path.Name))
	case st.Mode&unix.S_IFMT == unix.S_IFLNK && st.Uid == 0 && st.Gid == 0:
		return nil
	}
	return errNotSyncable
}

// Leave does nothing: Enter has added the directory.
func (s *syncSet) Leave(int, fsat.Path) error { return nil }

// sync calls fsync for all files at the same time. ZFS writes to the log once for all that
// wait.
func (s *syncSet) sync() error {
	errs := make([]error, len(s.fds))
	var wait sync.WaitGroup
	for i, fd := range s.fds[1:] {
		wait.Go(func() { errs[i+1] = fsat.SyncFile(fd) })
	}
	errs[0] = fsat.SyncFile(s.fds[0])
	wait.Wait()
	return errors.Join(errs...)
}

// syncFile makes durable what was written to a file or a directory and set on it, and all
// names of its dataset.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(fsat.SyncFile(int(f.Fd())), f.Close())
}
