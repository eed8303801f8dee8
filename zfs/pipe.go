package zfs

import (
	"errors"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// pipeSize is the capacity of the pipe between the module and this process.
const pipeSize = 1 << 20

// pipes are the descriptors of all pipes.
var pipes = struct {
	sync.Mutex
	open map[int]bool
}{open: map[int]bool{}}

// pipe connects the module with a goroutine. In one request the module reads or writes a
// whole stream through its end, which must block. The goroutine's end has O_NONBLOCK, so
// that it can be closed while it is used.
type pipe struct {
	ours         *os.File
	mine, theirs int // descriptors
}

// newPipe makes a pipe. The module reads from it, or else writes to it.
func newPipe(moduleReads bool) (pipe, error) {
	pipes.Lock()
	defer pipes.Unlock()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return pipe{}, err
	}
	ours, theirs := fds[0], fds[1]
	if moduleReads {
		ours, theirs = fds[1], fds[0]
	}
	_, _ = unix.FcntlInt(uintptr(ours), unix.F_SETPIPE_SZ, pipeSize) // it works with a smaller one, too
	if err := unix.SetNonblock(ours, true); err != nil {
		return pipe{}, errors.Join(err, unix.Close(ours), unix.Close(theirs))
	}
	pipes.open[ours], pipes.open[theirs] = true, true
	return pipe{os.NewFile(uintptr(ours), "pipe"), ours, theirs}, nil
}

// close closes our end. The module then reads the end of its stream, or cannot write. A second
// call does nothing.
func (p pipe) close() {
	pipes.Lock()
	defer pipes.Unlock()
	if p.ours.Close() == nil {
		delete(pipes.open, p.mine)
	}
}

// closeTheirs closes the module's end in the process's table of descriptors.
func (p pipe) closeTheirs() error {
	pipes.Lock()
	defer pipes.Unlock()
	delete(pipes.open, p.theirs)
	return unix.Close(p.theirs)
}

// detach gives the calling thread a table of descriptors of its own, without any pipe's but the
// module's end of this one. So our end is closed when the process is killed, and the request
// ends, even if the module has forgotten the signal: it does where one comes while it starts a
// thread (spl_kthread_create clears TIF_SIGPENDING, OpenZFS 2.1 to 2.4). It would wait for its
// own dead process then, and keep dataset and snapshot busy until the next boot. requestToDeath
// ends the thread itself.
func (p pipe) detach() error {
	pipes.Lock()
	defer pipes.Unlock()
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return err
	}
	var err error
	for fd := range pipes.open {
		if fd != p.theirs {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

// serve makes the request in a thread of its own, and closes the module's end after it. The
// thread blocks all signals and ends with the goroutine: a signal would end the request
// half-way, and Go's runtime sends itself many. The request ends early when our end is
// closed.
func (p pipe) serve(request func() error) <-chan error {
	detached, done := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		var all unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = ^all.Val[i]
		}
		err := errors.Join(unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil), p.detach())
		detached <- err
		if err == nil {
			err = errors.Join(request(), unix.Close(p.theirs))
		}
		done <- err
	}()
	err := errors.Join(<-detached, p.closeTheirs())
	if err != nil {
		p.close() // the request ends, if it has begun
	}
	return done
}
