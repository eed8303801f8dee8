package snapshot

import (
	"context"
	"time"
)

// Keeper takes snapshots at events and keeps as many as its policy says. Any
// number of goroutines may use one. A nil Keeper does nothing.
type Keeper struct{}

// New checks the configuration and starts a Keeper. A policy that takes no
// snapshots gives a nil Keeper and no error. Close it when done.
func New(c Config) (*Keeper, error) { return nil, nil }

// Event says that something happened. It returns at once, whatever the pool
// does; the snapshot is taken in the background. A row of Committed or of
// Removed gives one snapshot, a minute (Quiet) after the last, or five (Longest)
// after the first. Events that the policy does not name are ignored.
func (k *Keeper) Event(e Event) {}

// Take takes a snapshot at once if the policy names the event, and returns
// when it is made and retention was kept, or when ctx ends: what is under way
// then goes on in the background. It is for Start and Stop; the error is for
// the log, which the Keeper has written already, and fails nothing.
func (k *Keeper) Take(ctx context.Context, e Event) error { return nil }

// Status is two lines at most for `docker info`. It asks nothing of the pool.
func (k *Keeper) Status() [][2]string { return nil }

// Close takes what Event has announced, and ends the Keeper. It returns when
// that is done or ctx ends.
func (k *Keeper) Close(ctx context.Context) error { return nil }

var _ time.Time
