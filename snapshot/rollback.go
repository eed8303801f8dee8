package snapshot

import (
	"context"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// Options are what the operator allows a rollback to do.
type Options struct {
	DestroyNewer  bool // newer snapshots, also other people's, may be lost
	LayersOnly    bool // go back without Docker's records
	AcceptMissing bool // go back though datasets of limited layers are gone
}

// Plan is a rollback that was thought through and not begun.
type Plan struct{}

// PlanRollback finds out what going back to a snapshot means. What stands in
// the way is in the plan; an error means that there is no plan.
func PlanRollback(z *zfs.Handle, layers, records, name string, o Options) (*Plan, error) {
	return nil, nil
}

// Do carries the plan out.
func (p *Plan) Do(ctx context.Context) error { return nil }

// Pending returns the name of the snapshot that an interrupted rollback was
// going to, or nothing. A store must not be opened while there is one: ask
// after the dataset is mounted and locked, and before anything is read or
// written; a rollback that begins meanwhile sees the mount and gives up.
func Pending(z *zfs.Handle, layers string) (string, error) { return "", nil }
