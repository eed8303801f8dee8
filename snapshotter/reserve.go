package snapshotter

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// reserve is a file that is there to be given up. A full dataset or pool refuses
// to overwrite even one page of the records, but not to delete a file, and
// removing snapshots must be a way out.
type reserve string

const (
	reserveName = "reserve"
	// reserveSize is several times what deleting one record writes: pages of
	// 4 KiB, each a block of its own to ZFS, with metadata in copies.
	reserveSize = 4 << 20
	// mostWaits is for how many transaction groups ZFS may keep back what was
	// freed, and one more.
	mostWaits = 4
)

// keep makes the file unless it is there. Its content does not compress.
func (r reserve) keep() error {
	if _, err := os.Lstat(string(r)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	next := string(r) + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, reserveSize)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, string(r))
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return nil
}

// release gives the file up. One that is gone already is no error.
func (r reserve) release() error {
	err := os.Remove(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dropAnyway deletes a record, also where there is no room left to do so.
func (s *Snapshotter) dropAnyway(ctx context.Context, key string) error {
	err := s.drop(ctx, key)
	if !full(err) {
		return err
	}
	s.log.WithField("snapshot", key).Warn("no space is left to note its removal: the reserve is given up")
	if lost := s.reserve.release(); lost != nil {
		return errors.Join(err, lost)
	}
	for wait := 0; full(err) && wait < mostWaits; wait++ {
		if lost := s.store.WaitTxg(ctx); lost != nil {
			return errors.Join(err, lost)
		}
		err = s.drop(ctx, key)
	}
	return err
}

func full(err error) bool {
	class := fault.ClassOf(fault.Classify(err))
	return class == fault.NoSpace || class == fault.LimitReached
}

// refill makes the reserve again. On a dataset that is still full that fails,
// and the next time is soon enough.
func (s *Snapshotter) refill() {
	if err := s.reserve.keep(); err != nil {
		s.log.WithError(err).Info("no reserve for removals yet")
	}
}
