package snapshot

import (
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// markProperty on the layers dataset says that a rollback has begun and not
// ended, and to which snapshot. A rollback does not touch the properties of
// file systems, so it outlives every step.
const markProperty = "overlayzfs:rollback"

// markOf is the snapshot that a rollback of the dataset is going to, or
// nothing. What an ancestor's rollback has set is inherited, and not ours.
func markOf(layers zfs.Dataset) string {
	if !layers.IsLocal(markProperty) {
		return ""
	}
	return text(layers, markProperty)
}

// PendingRollback returns the name of the snapshot that an interrupted rollback of the
// layers dataset was going to, or nothing. A store must not be used while
// there is one: ask after the dataset is mounted and before anything on it is
// read, and give the mount back. A rollback sets its mark first and looks for
// mounts then, so that one of the two always sees the other.
func PendingRollback(z *zfs.Handle, layers string) (string, error) {
	stats, err := z.DatasetStats(layers)
	if err != nil {
		return "", err
	}
	return markOf(stats), nil
}

// HasRecords reports whether a snapshot of the layers dataset has Docker's records
// with it. Of one that is not there it is not known, and false.
func HasRecords(z *zfs.Handle, layers, name string) bool {
	s, err := z.DatasetStats(full(layers, name))
	return err == nil && text(s, recordsProperty) != ""
}

// UnfinishedError is of a store whose rollback to a snapshot is half done.
func UnfinishedError(layers, name string) error {
	return fault.New(fault.Interrupted, "a rollback to %s was cut short: finish it with `overlayzfs rollback %s` and the flags it was begun with", name, full(layers, name))
}
