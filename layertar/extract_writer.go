package layertar

import (
	"sync"
	"sync/atomic"
)

// fileWriter creates a layer's regular files on a pool of workers while the reader goes
// on with the tar. The reader itself makes everything that other names can depend on:
// directories, links, whiteouts.
type fileWriter struct {
	*workerPool
	inFlight sync.WaitGroup // of jobs; only the reader adds and waits
	failed   atomic.Bool    // err is set: the remaining jobs do nothing

	mu            sync.Mutex
	err           error
	conflicts     []*smallFile // not created: something has their name
	conflictCount atomic.Int32
}

// maxConflicts bounds the conflicts, because each holds a file's content.
const maxConflicts = 16

func newFileWriter() *fileWriter { return &fileWriter{workerPool: newWorkerPool()} }

// job is the work on one file, or on a part of one.
type job interface{ run(w *fileWriter) }

// submit queues a job. waitAll returns after it has run.
func (w *fileWriter) submit(j job) {
	w.inFlight.Add(1)
	w.workerPool.submit(func() {
		defer w.inFlight.Done()
		j.run(w)
	})
}

// waitAll waits for all jobs and returns the files that were not created because their
// name exists.
func (w *fileWriter) waitAll() []*smallFile {
	w.inFlight.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	conflicts := w.conflicts
	w.conflicts = nil
	w.conflictCount.Store(0)
	return conflicts
}

// firstError returns the error of the first job that failed.
func (w *fileWriter) firstError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *fileWriter) fail(path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = wrapEntry(path, err)
	}
	w.failed.Store(true)
}

func (w *fileWriter) addConflict(f *smallFile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conflicts = append(w.conflicts, f)
	w.conflictCount.Add(1)
}
