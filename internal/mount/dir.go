package mount

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// idleThreads is how many threads wait for the next mount. Starting one costs more than the
// rest of a mount.
const idleThreads = 4

// idle holds the waiting threads.
var idle = make(chan *thread, idleThreads)

// runInDir runs fn on a thread whose working directory is dir, so that relative
// paths work without a fork and without moving the process. The thread leaves
// dir again: a working directory would keep the dataset from being unmounted.
func runInDir(dir string, fn func() error) error {
	if dir == "" {
		return fn()
	}
	t := acquireThread()
	err, usable := t.do(dir, fn)
	t.release(usable)
	return err
}

// thread is a goroutine locked to an operating system thread with a private fs_struct. The
// thread ends with the goroutine, because nothing else may run on it.
type thread struct {
	jobs    chan func()
	private bool
}

// CloseIdleThreads ends the threads that wait for the next mount, so that tests can count
// a process's threads. The next mount starts a new one.
func CloseIdleThreads() {
	for {
		select {
		case t := <-idle:
			close(t.jobs)
		default:
			return
		}
	}
}

func acquireThread() *thread {
	select {
	case t := <-idle:
		return t
	default:
	}
	t := &thread{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked
		for job := range t.jobs {
			job()
		}
	}()
	return t
}

// release keeps the thread for the next mount, unless it is unusable or enough threads are
// idle.
func (t *thread) release(usable bool) {
	if usable {
		select {
		case idle <- t:
			return
		default:
		}
	}
	close(t.jobs)
}

// do runs fn on the thread, in dir, and reports whether the thread can be used again.
func (t *thread) do(dir string, fn func() error) (err error, usable bool) {
	done := make(chan struct{})
	t.jobs <- func() {
		defer close(done)
		err, usable = t.fromDir(dir, fn)
	}
	<-done
	return err, usable
}

func (t *thread) fromDir(dir string, fn func() error) (err error, usable bool) {
	if !t.private {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare the thread's working directory: %w", err), false
		}
		t.private = true
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter %q: %w", dir, err), true
	}
	err = fn()
	if back := unix.Chdir("/"); back != nil {
		if err == nil {
			err = fmt.Errorf("leave %q: %w", dir, back)
		}
		return err, false
	}
	return err, true
}
