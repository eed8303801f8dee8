package overlayzfs

import (
	"context"
	"sync"
	"time"
)

// callCount counts the calls that run, and knows when the last one ended.
type callCount struct {
	mu      sync.Mutex
	running int
	ended   time.Time
}

// begin counts a call until end.
func (c *callCount) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
}

func (c *callCount) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.ended = time.Now()
}

// idleFor returns for how long no call ran.
func (c *callCount) idleFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > 0 {
		return 0
	}
	return time.Since(c.ended)
}

// maxBacklog is how many removed layers may wait for the deletion of their files. Above
// it Remove waits too, because space that comes back too late would fill the pool.
const maxBacklog = 256

// A removed layer's files are deleted when no call ran for reaperIdle, so that the deletion
// does not compete with the calls of a container's end or of a build. After reaperPatience
// they are deleted in any case, and so they are while more than patientBacklog layers wait.
const (
	reaperIdle     = 20 * time.Millisecond
	reaperPatience = 2 * time.Second
	patientBacklog = 64
)

// reaper deletes the files of removed layers in the background, one layer after another.
// The next start deletes the rest of the trash.
type reaper struct {
	discard func(ctx context.Context, dir string)
	calls   *callCount

	ctx  context.Context
	stop context.CancelFunc

	mu       sync.Mutex
	queue    []removedLayer
	hurry    chan struct{} // closed when somebody waits for the queue's end; nil while it is empty
	running  chan struct{} // closed when the queue is empty again; nil while it is
	progress chan struct{} // closed, and replaced, whenever a layer is deleted
}

// removedLayer is a layer's directory in the trash.
type removedLayer struct {
	dir string
	at  time.Time // of its removal
}

func newReaper(discard func(ctx context.Context, dir string), calls *callCount) *reaper {
	r := &reaper{discard: discard, calls: calls, progress: make(chan struct{})}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// enqueue queues a directory of the trash. An empty path is ignored.
func (r *reaper) enqueue(dir string) {
	if dir == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, removedLayer{dir, time.Now()})
	if r.running == nil {
		r.running, r.hurry = make(chan struct{}), make(chan struct{})
		go r.run(r.running)
	}
}

func (r *reaper) run(done chan struct{}) {
	defer close(done)
	for next := r.peek(); next.dir != ""; next = r.pop() {
		r.awaitIdle(next)
		r.discard(r.ctx, next.dir)
	}
}

// awaitIdle waits until no call runs, or the layer has waited long enough.
func (r *reaper) awaitIdle(l removedLayer) {
	for {
		r.mu.Lock()
		backlog, hurry := len(r.queue), r.hurry
		r.mu.Unlock()
		wait := min(reaperIdle-r.calls.idleFor(), reaperPatience-time.Since(l.at))
		if wait <= 0 || backlog > patientBacklog {
			return
		}
		select {
		case <-time.After(wait):
		case <-hurry:
			return
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *reaper) peek() removedLayer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue[0]
}

// pop drops the first layer of the queue and returns the next. One without a path ends the
// run.
func (r *reaper) pop() removedLayer {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = r.queue[1:]
	close(r.progress)
	r.progress = make(chan struct{})
	if len(r.queue) == 0 || r.ctx.Err() != nil {
		r.queue, r.running, r.hurry = nil, nil, nil
		return removedLayer{}
	}
	return r.queue[0]
}

// waitBacklog waits while more than maxBacklog layers are queued.
func (r *reaper) waitBacklog(ctx context.Context) {
	for {
		r.mu.Lock()
		waiting, progress := len(r.queue), r.progress
		r.mu.Unlock()
		if waiting <= maxBacklog {
			return
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return
		case <-r.ctx.Done():
			return
		}
	}
}

// waitIdle waits until the queue is empty. The reaper waits for no calls meanwhile.
func (r *reaper) waitIdle(ctx context.Context) error {
	r.mu.Lock()
	running := r.running
	if running != nil && !isDone(r.hurry) {
		close(r.hurry)
	}
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

// close stops the deletion, even in the middle of a layer.
func (r *reaper) close(ctx context.Context) error {
	r.stop()
	return r.waitIdle(ctx)
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
