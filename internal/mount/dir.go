package mount

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// idleThreads is how many threads wait for the next mount. To make one costs
// more than all else that a mount costs here.
const idleThreads = 4

// idle holds them.
var idle = make(chan *thread, idleThreads)

// inDir runs fn on a thread whose working directory is dir, so that relative
// paths work without a fork and without moving the process. The thread leaves
// dir again: a working directory would keep the dataset from being unmounted.
func inDir(dir string, fn func() error) error {
	if dir == "" {
		return fn()
	}
	t := borrow()
	err, usable := t.do(dir, fn)
	t.giveBack(usable)
	return err
}

// thread is a goroutine locked to an operating system's thread with a private
// fs_struct. It ends with that thread, which must not be used for anything else.
type thread struct {
	jobs    chan func()
	private bool
}

// CloseIdleThreads ends the threads that wait for the next mount, for whoever counts
// what a process holds. The next mount makes a new one.
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

func borrow() *thread {
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

// giveBack keeps the thread for the next mount, unless it is not where it was,
// or enough of them are idle.
func (t *thread) giveBack(usable bool) {
	if usable {
		select {
		case idle <- t:
			return
		default:
		}
	}
	close(t.jobs)
}

// do runs fn on the thread, in dir, and reports whether the thread is as before.
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
