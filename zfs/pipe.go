package zfs

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// pipeSize is the capacity of the pipe between the module and this process.
const pipeSize = 1 << 20

// pipe connects the module with a goroutine. In one request the module reads or writes a
// whole stream through its end, which must block. The goroutine's end has O_NONBLOCK, so
// that it can be closed while it is used.
type pipe struct {
	ours   *os.File
	theirs int
}

// newPipe makes a pipe. The module reads from it, or else writes to it.
func newPipe(moduleReads bool) (pipe, error) {
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
	return pipe{os.NewFile(uintptr(ours), "pipe"), theirs}, nil
}

// serve makes the request in a thread of its own, and then closes the module's end. The
// thread blocks all signals and ends with the goroutine: a signal would end the request
// half-way, and Go's runtime sends itself many. The request ends early when our end is
// closed.
func (p pipe) serve(request func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		var all, before unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = ^all.Val[i]
		}
		err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before)
		if err == nil {
			err = request()
		}
		done <- errors.Join(err, unix.Close(p.theirs))
	}()
	return done
}
