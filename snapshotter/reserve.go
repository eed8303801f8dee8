package snapshotter

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// reserve is the path of a file that is deleted when space runs out. A full dataset or pool
// refuses to overwrite even one page of the records, but not to delete a file. So removing
// snapshots still works, and frees space.
type reserve string

const (
	reserveName = "reserve"
	// reserveSize is several times the size of deleting one record: pages of 4 KiB, each a
	// block of its own to ZFS, with metadata in copies.
	reserveSize = 4 << 20
	// maxWaits is the number of transaction groups for which ZFS may hold back freed space,
	// and one more.
	maxWaits = 4
)

// ensure creates the file unless it exists. Its content does not compress.
func (r reserve) ensure() error {
	if _, err := os.Lstat(string(r)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fill := func(w io.Writer) error {
		_, err := io.CopyN(w, rand.Reader, reserveSize)
		return err
	}
	return atomicfile.ReplaceFrom(string(r), fill, atomicfile.Options{Mode: 0o600, Suffix: ".new"})
}

// release deletes the file. A missing file is no error.
func (r reserve) release() error {
	err := os.Remove(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dropUsingReserve deletes a record. When that needs space that is not there, it gives up
// the reserve and tries again.
func (s *Snapshotter) dropUsingReserve(ctx context.Context, key string) error {
	err := s.drop(ctx, key)
	if !isFull(err) {
		return err
	}
	s.log.WithField("snapshot", key).Warn("no space to delete its record: giving up the reserve")
	if lost := s.reserve.release(); lost != nil {
		return errors.Join(err, lost)
	}
	for wait := 0; isFull(err) && wait < maxWaits; wait++ {
		if lost := s.store.WaitTxg(ctx); lost != nil {
			return errors.Join(err, lost)
		}
		err = s.drop(ctx, key)
	}
	return err
}

func isFull(err error) bool {
	class := fault.ClassOf(fault.Classify(err))
	return class == fault.NoSpace || class == fault.LimitReached
}

// ensureReserve creates the reserve again. On a dataset that is still full it fails, and the
// next call tries again.
func (s *Snapshotter) ensureReserve() {
	if err := s.reserve.ensure(); err != nil {
		s.log.WithError(err).Info("no reserve for removals yet")
	}
}
