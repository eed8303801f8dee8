package overlayzfs

import (
	"context"
	"sync"
)

// maxBacklog is how many removed layers may wait for the deletion of their
// files. Beyond that whoever removes more waits, too: space that is given back
// later than it is asked for would fill the pool.
const maxBacklog = 256

// reaper deletes the files of removed layers, one layer after another, while
// callers go on. What it does not get to is in the trash for the next start.
type reaper struct {
	discard func(ctx context.Context, dir string)

	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	queue   []string
	running chan struct{} // closed when the queue is empty again; nil when it is
	shorter chan struct{} // closed, and made anew, whenever one is done
}

func newReaper(discard func(ctx context.Context, dir string)) *reaper {
	r := &reaper{discard: discard, shorter: make(chan struct{})}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// take queues a directory of the trash; "" is nothing.
func (r *reaper) take(dir string) {
	if dir == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, dir)
	if r.running == nil {
		r.running = make(chan struct{})
		go r.run(r.running)
	}
}

func (r *reaper) run(done chan struct{}) {
	defer close(done)
	for dir := r.first(); dir != ""; dir = r.next() {
		r.discard(r.ctx, dir)
	}
}

func (r *reaper) first() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue[0]
}

// next drops what was first, and returns what is now; "" ends the run.
func (r *reaper) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = r.queue[1:]
	close(r.shorter)
	r.shorter = make(chan struct{})
	if len(r.queue) == 0 || r.ctx.Err() != nil {
		r.queue, r.running = nil, nil
		return ""
	}
	return r.queue[0]
}

// pace waits while too many layers wait.
func (r *reaper) pace(ctx context.Context) {
	for {
		r.mu.Lock()
		waiting, shorter := len(r.queue), r.shorter
		r.mu.Unlock()
		if waiting <= maxBacklog {
			return
		}
		select {
		case <-shorter:
		case <-ctx.Done():
			return
		}
	}
}

// idle waits until nothing is left to delete.
func (r *reaper) idle(ctx context.Context) error {
	r.mu.Lock()
	running := r.running
	r.mu.Unlock()
	if running == nil {
		return nil
	}
	select {
	case <-running:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close stops the deletion, wherever it is.
func (r *reaper) close(ctx context.Context) error {
	r.stop()
	return r.idle(ctx)
}
