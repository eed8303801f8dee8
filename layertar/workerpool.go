package layertar

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// maxWorkers bounds the goroutines that work on one tar. More would wait for one another
// in the file system.
const maxWorkers = 4

// queueLength is how many jobs may wait for a worker.
const queueLength = 16

// workerPool runs jobs at the same time. One file takes several system calls, so each
// processor can work on a file of its own.
type workerPool struct {
	jobs    chan func()
	workers sync.WaitGroup
	panic   atomic.Pointer[string]
}

func newWorkerPool() *workerPool {
	p := &workerPool{jobs: make(chan func(), queueLength)}
	for range min(maxWorkers, runtime.GOMAXPROCS(0)) {
		p.workers.Go(func() {
			for job := range p.jobs {
				p.runGuarded(job)
			}
		})
	}
	return p
}

func (p *workerPool) submit(job func()) { p.jobs <- job }

// runGuarded runs a job and keeps its panic for close: in a worker's goroutine nobody
// would catch it.
func (p *workerPool) runGuarded(job func()) {
	defer func() {
		if v := recover(); v != nil {
			text := fmt.Sprintf("%v\n%s", v, debug.Stack())
			p.panic.CompareAndSwap(nil, &text)
		}
	}()
	job()
}

// close waits for all jobs and ends the workers. It panics if a job did.
func (p *workerPool) close() {
	close(p.jobs)
	p.workers.Wait()
	if text := p.panic.Load(); text != nil {
		panic(*text)
	}
}
