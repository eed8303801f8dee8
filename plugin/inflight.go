package plugin

import (
	"context"
	"sync"
	"time"
)

// cancelGrace is how long calls may take to end once they are cancelled.
const cancelGrace = time.Second

// inFlight counts the calls at work, so that stop can wait for them.
type inFlight struct {
	ctx    context.Context // of all calls; ends when they must end
	cancel context.CancelFunc

	mu       sync.Mutex
	working  int
	stopping bool
	idle     chan struct{} // closed when stopping and no call is at work
}

func newInFlight() *inFlight {
	ctx, cancel := context.WithCancel(context.Background())
	return &inFlight{ctx: ctx, cancel: cancel, idle: make(chan struct{})}
}

// begin reports whether a call may begin. The caller then ends it with end.
func (f *inFlight) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping {
		return false
	}
	f.working++
	return true
}

func (f *inFlight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working--
	f.signalIdle()
}

// signalIdle tells stop when no call is left. The caller holds mu.
func (f *inFlight) signalIdle() {
	if f.stopping && f.working == 0 {
		close(f.idle)
	}
}

// stop refuses new calls, waits for those at work, and cancels them after limit. It
// reports whether all ended.
func (f *inFlight) stop(limit time.Duration) bool {
	defer f.cancel()
	f.mu.Lock()
	f.stopping = true
	f.signalIdle()
	f.mu.Unlock()
	if f.waitIdle(limit) {
		return true
	}
	f.cancel()
	return f.waitIdle(cancelGrace)
}

func (f *inFlight) waitIdle(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.idle:
		return true
	case <-timer.C:
		return false
	}
}
