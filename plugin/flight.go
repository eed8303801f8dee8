package plugin

import (
	"context"
	"sync"
	"time"
)

// cutGrace is how long calls may take to notice that they were cut.
const cutGrace = time.Second

// flight counts what is at work, so that stopping can wait for it.
type flight struct {
	ctx context.Context // ends when calls must
	cut context.CancelFunc

	mu       sync.Mutex
	working  int
	stopping bool
	done     chan struct{} // closed when nothing works any more
}

func newFlight() *flight {
	ctx, cut := context.WithCancel(context.Background())
	return &flight{ctx: ctx, cut: cut, done: make(chan struct{})}
}

// enter reports whether work may begin; it then ends with leave.
func (f *flight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping {
		return false
	}
	f.working++
	return true
}

func (f *flight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working--
	f.landed()
}

// landed tells stop that nothing is left. The caller holds mu.
func (f *flight) landed() {
	if f.stopping && f.working == 0 {
		close(f.done)
	}
}

// stop lets nothing begin, waits for the rest, and after limit cuts it. It
// reports whether everything ended.
func (f *flight) stop(limit time.Duration) bool {
	defer f.cut()
	f.mu.Lock()
	f.stopping = true
	f.landed()
	f.mu.Unlock()
	if f.wait(limit) {
		return true
	}
	f.cut()
	return f.wait(cutGrace)
}

func (f *flight) wait(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.done:
		return true
	case <-timer.C:
		return false
	}
}
