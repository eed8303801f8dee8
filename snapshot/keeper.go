package snapshot

import (
	"context"
	"sync"
	"time"
)

// Scheduler takes snapshots at events and keeps as many as its policy says. Any
// number of goroutines may use one. A nil Keeper does nothing.
type Scheduler struct {
	config Config
	worker worker
	born   time.Time // of the layers dataset

	turn   chan struct{} // has a token while a snapshot is being taken
	wake   chan struct{} // has a token when there is something new to wait for
	ending chan struct{} // closed by Close
	ended  chan struct{} // closed by the goroutine
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once

	mu      sync.Mutex
	rows    rows
	counted bool // whether the following are known
	counts  map[Event]int
	latest  map[Event]time.Time
	taking  trouble
	pruning trouble
}

// worker does what a Keeper decides.
type worker interface {
	take(ctx context.Context, e Event, at time.Time) (string, error)
	prune(ctx context.Context, p Policy) (left []Info, pruned bool, err error)
}

// New checks the configuration and starts a Keeper. A policy that takes no
// snapshots gives a nil Keeper and no error. Close it when done.
func New(c Config) (*Scheduler, error) {
	if len(c.Policy) == 0 {
		return nil, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	stats, err := c.ZFS.DatasetStats(c.Layers)
	if err != nil {
		return nil, err
	}
	k := newKeeper(c, store{zfs: c.ZFS, layers: c.Layers, records: c.Records}, stats.Created())
	go k.run()
	return k, nil
}

func newKeeper(c Config, w worker, born time.Time) *Scheduler {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Scheduler{
		config: c,
		worker: w,
		born:   born,
		turn:   make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
		ending: make(chan struct{}),
		ended:  make(chan struct{}),
		rows:   rows{},
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Notify says that something happened. It returns at once, whatever the pool
// does; the snapshot is taken in the background. A row of Committed or of
// Removed gives one snapshot, a minute (Quiet) after the last of them or five
// (Longest) after the first. Events that the policy does not name are ignored.
func (k *Scheduler) Notify(e Event) {
	if k == nil || k.config.Policy[e] == 0 {
		return
	}
	k.mu.Lock()
	k.rows.add(e, time.Now())
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Take takes a snapshot at once if the policy names the event. It returns when
// that is made and retention was kept, or when ctx ends: what is under way in
// the kernel then goes on in the background. It is for Start and Stop. The
// error has been logged; it must fail nothing.
func (k *Scheduler) Take(ctx context.Context, e Event) error {
	if k == nil || k.config.Policy[e] == 0 {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- k.perform(ctx, e) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close takes what Event has announced, and ends the Keeper. It returns when
// that is done or ctx ends. Closing again is no error.
func (k *Scheduler) Close(ctx context.Context) error {
	if k == nil {
		return nil
	}
	defer k.cancel()
	k.once.Do(func() { close(k.ending) })
	select {
	case <-k.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
