package zfs

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// pipeSize is the capacity of the pipe between the module and this process.
const pipeSize = 1 << 20

// pipe connects the module with a goroutine. In one request the module reads or writes a
// whole stream through its end, which must block. The goroutine's end has O_NONBLOCK, so
// that it can be closed while it is used.
type pipe struct {
	ours   *os.File
	mine   int // descriptor of ours
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
	return pipe{os.NewFile(uintptr(ours), "pipe"), ours, theirs}, nil
}

// kept are the files that detach leaves open: the request's, and those by which Go's runtime
// wakes its threads.
var kept = []string{device, "anon_inode:[eventpoll]", "anon_inode:[eventfd]"}

// detach gives the calling thread a table of descriptors of its own, with the module's end of
// the pipe, standard input, output and error, and kept files. So our end is closed when the
// process is killed, and the request ends, even if the module has forgotten the signal: it does
// where one comes while it starts a thread (spl_kthread_create clears TIF_SIGPENDING, OpenZFS
// 2.1 to 2.4). It would wait for its own dead process then, and keep dataset and snapshot busy
// until the next boot. requestToDeath ends the thread itself.
func (p pipe) detach() error {
	const table = "/proc/thread-self/fd"
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return err
	}
	all, err := os.ReadDir(table)
	if err != nil { // without procfs
		return unix.Close(p.mine)
	}
	for _, entry := range all {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= 2 || fd == p.theirs {
			continue
		}
		target, err := os.Readlink(filepath.Join(table, entry.Name()))
		if err != nil || slices.Contains(kept, target) {
			continue // the one of the table itself is gone
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

// serve makes the request in a thread of its own, and closes the module's end after it. The
// thread blocks all signals and ends with the goroutine: a signal would end the request
// half-way, and Go's runtime sends itself many. The request ends early when our end is
// closed.
func (p pipe) serve(request func() error) <-chan error {
	detached, done := make(chan error), make(chan error, 1)
	onNewThread(func() {
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
	})
	if err := errors.Join(<-detached, unix.Close(p.theirs)); err != nil {
		_ = p.ours.Close() // the copying ends, and then says why
	}
	return done
}

// onNewThread runs f in a thread that ends with it. The process's first thread does not end, and
// its descriptors are those of /proc/self: it is held until f runs in another one.
func onNewThread(f func()) {
	go func() {
		runtime.LockOSThread() // a thread that is not unlocked ends with its goroutine
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		begun := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(begun)
			f()
		}()
		<-begun
		runtime.UnlockOSThread()
	}()
}
