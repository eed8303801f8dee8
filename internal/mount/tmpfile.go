package mount

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// TmpfileListener keeps overlays from using O_TMPFILE, so that they copy files up by a
// rename. On ZFS the link of an O_TMPFILE file waits for a transaction group unless
// sync=disabled. A rename waits for nothing.
//
// overlayfs decides once, at mount (ovl_make_workdir, fs/overlayfs/super.c, Linux 6.1 to
// 7.2). It makes the directory "work" in the work directory, opens the work directory, and
// then tries one O_TMPFILE file of mode 000 in "work". If that open fails, it uses none. The
// listener marks the work directory for fanotify's permission events. At the first open it
// marks "work", and it refuses the second. Other directories have no mark, so that no
// other open waits for the listener, or is refused.
//
// The kernel lets all opens through when the listener's descriptor is closed, which the end
// of the process does too. A nil TmpfileListener does nothing.
type TmpfileListener struct {
	descriptors
	refusals atomic.Uint64

	mu     sync.Mutex
	paths  map[inode]string // the watched work directories
	inodes map[string]inode
	ended  error // why the listener answers no more

	pendingMounts

	done chan struct{}
}

// inode identifies a file.
type inode struct{ dev, ino uint64 }

// ErrTmpfileNotAsked is why a listener is of no use on a kernel before Linux 6.1: overlayfs
// tries O_TMPFILE there without an open.
var ErrTmpfileNotAsked = errors.New("this kernel asks no listener when overlayfs tries O_TMPFILE; Linux 6.1 does")

// ErrNoPermissionEvents is why Watch fails on a kernel whose fanotify only notifies.
var ErrNoPermissionEvents = errors.New("this kernel was built without CONFIG_FANOTIFY_ACCESS_PERMISSIONS")

// OpenTmpfileListener starts a listener. It fails without CAP_SYS_ADMIN. On a kernel without
// permission events it succeeds, and Watch fails with ErrNoPermissionEvents.
func OpenTmpfileListener() (*TmpfileListener, error) {
	fds, err := openDescriptors()
	if err != nil {
		return nil, err
	}
	l := newListener(fds)
	go l.listen()
	return l, nil
}

func newListener(fds descriptors) *TmpfileListener {
	return &TmpfileListener{
		descriptors: fds, paths: map[inode]string{}, inodes: map[string]inode{}, done: make(chan struct{}),
		pendingMounts: pendingMounts{timeout: pendingTimeout, threads: map[int32]*pendingMount{}, directories: map[string]int{}},
	}
}

// Close ends the listener. Overlays that are mounted keep their way of copying up.
func (l *TmpfileListener) Close() error {
	if l == nil {
		return nil
	}
	err := l.wakeUp()
	<-l.done
	return err
}

// Err returns why the listener has ended, and so why the copy-ups of new mounts wait. It is
// nil as long as the listener works.
func (l *TmpfileListener) Err() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// Refusals counts the O_TMPFILE files that were refused.
func (l *TmpfileListener) Refusals() uint64 { return l.refusals.Load() }

// Mount executes an overlay's mount while its work directory is watched. A mount that
// cannot be watched is made all the same, and its copy-ups wait.
func (l *TmpfileListener) Mount(m Mount) error {
	work := m.WorkDir()
	if l == nil || work == "" {
		return m.Do()
	}
	if err := l.Watch(work); err != nil {
		logrus.WithError(err).Warn("copy-ups in this mount wait for a transaction group")
		return m.Do()
	}
	defer l.Unwatch(work)
	return m.Do()
}

// WorkDir returns the path of an overlay's work directory, empty for another mount.
func (m Mount) WorkDir() string {
	for _, o := range m.Options {
		if o.Key == "workdir" && filepath.IsAbs(o.Value) {
			return o.Value
		}
		if o.Key == "workdir" {
			return filepath.Join(m.Dir, o.Value)
		}
	}
	return ""
}

// The events of a work directory are opens of itself, the events of the directory "work"
// in it are opens of its files.
const (
	markWorkDir = unix.FAN_OPEN_PERM | unix.FAN_ONDIR
	markFiles   = unix.FAN_OPEN_PERM | unix.FAN_EVENT_ON_CHILD
)

// filesName is the directory that overlayfs makes in its work directory.
const filesName = "work"

// Watch makes every overlay with that work directory copy up by a rename, whoever mounts
// it, and in which mount namespace. It does so until Unwatch, or until the directory is
// deleted. Watching a directory twice is like watching it once.
func (l *TmpfileListener) Watch(work string) error {
	if l == nil {
		return nil
	}
	id, err := identify(work)
	if err != nil {
		return err
	}
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	delete(l.paths, l.inodes[work])
	l.paths[id], l.inodes[work] = work, id
	l.mu.Unlock()
	if err := l.mark(unix.FAN_MARK_ADD, markWorkDir, unix.AT_FDCWD, work); err != nil {
		l.forget(work)
		return err
	}
	return nil
}

// Unwatch ends Watch. A directory that is not watched, or is missing, is no error.
func (l *TmpfileListener) Unwatch(work string) {
	if l == nil || !l.forget(work) {
		return
	}
	// A directory that was deleted took its mark along.
	_ = l.mark(unix.FAN_MARK_REMOVE, markWorkDir, unix.AT_FDCWD, work)
}

// forget forgets a work directory and reports whether it was known.
func (l *TmpfileListener) forget(work string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, known := l.inodes[work]
	delete(l.inodes, work)
	if l.paths[id] == work {
		delete(l.paths, id)
	}
	return known
}

func identify(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, fmt.Errorf("stat %q: %w", path, err)
	}
	return inode{st.Dev, st.Ino}, nil
}
