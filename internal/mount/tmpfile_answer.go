package mount

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// listen answers one event after the other. There is one reader, and it reads one event at
// a time, so that no two events have the same descriptor.
func (l *TmpfileListener) listen() {
	defer close(l.done)
	err := l.answerAll()
	if !errors.Is(err, os.ErrClosed) {
		logrus.WithError(err).Warn("the fanotify listener ends: the copy-ups of new mounts wait for a transaction group")
	}
	l.mu.Lock()
	l.ended = fmt.Errorf("the fanotify listener has ended: %w", err)
	l.mu.Unlock()
	if err := l.close(); err != nil {
		logrus.WithError(err).Warn("close the fanotify listener")
	}
}

// answerAll returns when the listener is closed, or when it cannot go on.
func (l *TmpfileListener) answerAll() error {
	var event unix.FanotifyEventMetadata
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&event)), unsafe.Sizeof(event))
	for {
		if err := l.wait(); err != nil {
			return err
		}
		n, err := unix.Read(l.group, buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read fanotify: %w", err)
		case n < len(buf) || event.Vers != unix.FANOTIFY_METADATA_VERSION:
			return fmt.Errorf("fanotify event of %d bytes, version %d", n, event.Vers)
		case event.Fd < 0:
			continue
		}
		if err := l.answer(event); err != nil {
			return err
		}
	}
}

// answer answers one event. It closes the event's descriptor before, so that nobody who
// unmounts after the answer finds the file system in use.
func (l *TmpfileListener) answer(event unix.FanotifyEventMetadata) error {
	response := unix.FanotifyResponse{Fd: event.Fd, Response: unix.FAN_ALLOW}
	if event.Mask&unix.FAN_OPEN_PERM != 0 && l.refuses(int(event.Fd), event.Pid) {
		response.Response = unix.FAN_DENY
		l.refusals.Add(1)
	}
	unix.Close(int(event.Fd))
	if _, err := unix.Write(l.group, unsafe.Slice((*byte)(unsafe.Pointer(&response)), unsafe.Sizeof(response))); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("answer fanotify: %w", err) // ENOENT: the opener was killed meanwhile
	}
	return nil
}

// refuses looks at the opened file and reports whether the open is refused.
func (l *TmpfileListener) refuses(fd int, thread int32) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		l.expectTmpfile(fd, thread, inode{st.Dev, st.Ino})
		return false
	case st.Mode == unix.S_IFREG && st.Nlink == 0:
		return l.takePending(thread)
	}
	return false
}

// pendingMounts are the mounts between the open of the work directory and the O_TMPFILE
// file. Files in a directory "work" are watched as long as a mount of it is pending.
type pendingMounts struct {
	timeout     time.Duration
	pendingLock sync.Mutex
	threads     map[int32]*pendingMount
	directories map[string]int // how many are pending, by work directory
}

type pendingMount struct {
	thread int32
	work   string
	timer  *time.Timer
}

// pendingTimeout is how long a mount is pending when no O_TMPFILE file comes, because the open
// was not a mount's or the mount failed. Copy-ups ask the listener meanwhile.
const pendingTimeout = 10 * time.Second

// expectTmpfile watches the files in "work" of a work directory that a thread opens.
func (l *TmpfileListener) expectTmpfile(fd int, thread int32, id inode) {
	l.mu.Lock()
	work, known := l.paths[id]
	l.mu.Unlock()
	if !known {
		return // unwatched meanwhile
	}
	l.pendingLock.Lock()
	defer l.pendingLock.Unlock()
	if l.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_DONT_FOLLOW, markFiles, fd, filesName) != nil {
		return // not a mount's open: there is no "work"
	}
	p := &pendingMount{thread: thread, work: work}
	l.directories[work]++
	p.timer = time.AfterFunc(l.timeout, func() { l.expire(p) })
	if thread == 0 {
		return // outside of this process's PID namespace: only the timer ends it
	}
	if before := l.threads[thread]; before != nil && before.timer.Stop() {
		l.endPending(before)
	}
	l.threads[thread] = p
}

// takePending reports whether a thread is mounting an overlay, whose O_TMPFILE file the
// caller has seen. The mount is pending no more.
func (l *TmpfileListener) takePending(thread int32) bool {
	if thread == 0 {
		return true
	}
	l.pendingLock.Lock()
	defer l.pendingLock.Unlock()
	p := l.threads[thread]
	if p == nil || !p.timer.Stop() {
		return false
	}
	l.endPending(p)
	return true
}

// expire ends what a thread began that mounts nothing.
func (l *TmpfileListener) expire(p *pendingMount) {
	l.pendingLock.Lock()
	defer l.pendingLock.Unlock()
	l.endPending(p)
}

// endPending ends the watch of the files when no other mount of the directory is pending. A
// deleted "work" took its mark along. The caller holds the lock and has stopped the timer.
func (l *TmpfileListener) endPending(p *pendingMount) {
	if l.threads[p.thread] == p {
		delete(l.threads, p.thread)
	}
	l.directories[p.work]--
	if l.directories[p.work] > 0 {
		return
	}
	delete(l.directories, p.work)
	_ = l.mark(unix.FAN_MARK_REMOVE|unix.FAN_MARK_DONT_FOLLOW, markFiles, unix.AT_FDCWD, p.work+"/"+filesName)
}
