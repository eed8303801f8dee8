package mount

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// descriptors are a fanotify group, and what wakes its reader to end it.
//
// The reader waits in poll(2) and not in Go's poller. On a host with one processor the
// poller would run only when Go notices, up to 10 ms late, that the mounting thread blocks.
type descriptors struct {
	lock   *sync.RWMutex // held shared while the group's number is used
	group  int           // -1 once it is closed
	waking int           // an eventfd
}

// groupFlags: the reader takes one event at a time, so a long queue does not take many
// descriptors. The thread's ID tells a mount's opens from others.
const groupFlags = unix.FAN_CLASS_CONTENT | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_UNLIMITED_MARKS | unix.FAN_UNLIMITED_QUEUE | unix.FAN_REPORT_TID

func openDescriptors() (d descriptors, err error) {
	if d.group, err = unix.FanotifyInit(groupFlags, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE); err != nil {
		return d, fmt.Errorf("fanotify_init: %w", err)
	}
	if d.waking, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return d, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(d.group))
	}
	d.lock = new(sync.RWMutex)
	return d, nil
}

// wakeUp makes wait return os.ErrClosed. It does nothing when the descriptors are closed.
func (d *descriptors) wakeUp() error {
	d.lock.RLock()
	defer d.lock.RUnlock()
	if d.group < 0 {
		return nil
	}
	_, err := unix.Write(d.waking, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	return err
}

// wait waits for an event.
func (d *descriptors) wait() error {
	fds := []unix.PollFd{{Fd: int32(d.group), Events: unix.POLLIN}, {Fd: int32(d.waking), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		case fds[1].Revents != 0:
			return os.ErrClosed
		default:
			return nil
		}
	}
}

// close lets all opens through that wait for an answer.
func (d *descriptors) close() error {
	d.lock.Lock()
	defer d.lock.Unlock()
	group := d.group
	d.group = -1
	return errors.Join(unix.Close(group), unix.Close(d.waking))
}

// mark changes the group's marks.
func (d *descriptors) mark(flags uint, mask uint64, dir int, path string) error {
	d.lock.RLock()
	defer d.lock.RUnlock()
	if d.group < 0 {
		return os.ErrClosed
	}
	err := unix.FanotifyMark(d.group, flags|unix.FAN_MARK_ONLYDIR, mask, dir, path)
	if errors.Is(err, unix.EINVAL) {
		err = ErrNoPermissionEvents
	}
	if err != nil {
		return fmt.Errorf("fanotify_mark of %q: %w", path, err)
	}
	return nil
}
