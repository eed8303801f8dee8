package layertar

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// maxHands bounds the goroutines that one tar is worked on by. More would wait
// for one another in the file system.
const maxHands = 4

// queued is how many jobs may wait for a hand.
const queued = 16

// hands do jobs at the same time: what is done for one file are several system
// calls, of which each processor can do some.
type hands struct {
	jobs  chan func()
	ended sync.WaitGroup
	panic atomic.Pointer[string]
}

func newHands() *hands {
	h := &hands{jobs: make(chan func(), queued)}
	for range min(maxHands, runtime.GOMAXPROCS(0)) {
		h.ended.Go(func() {
			for job := range h.jobs {
				h.guard(job)
			}
		})
	}
	return h
}

func (h *hands) give(job func()) { h.jobs <- job }

// guard does a job outside of the caller's goroutine, where nobody would catch
// its panic.
func (h *hands) guard(job func()) {
	defer func() {
		if v := recover(); v != nil {
			text := fmt.Sprintf("%v\n%s", v, debug.Stack())
			h.panic.CompareAndSwap(nil, &text)
		}
	}()
	job()
}

// dismiss waits for all jobs and ends the hands. A job's panic becomes the
// caller's.
func (h *hands) dismiss() {
	close(h.jobs)
	h.ended.Wait()
	if text := h.panic.Load(); text != nil {
		panic(*text)
	}
}
