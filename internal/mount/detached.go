package mount

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenDetached mounts m in no mount namespace and returns its root. Nobody else sees the
// mount, which ends with the file, even if the process is killed. The mount is read-only,
// whatever the options of the file system. Target and Flags are ignored. (fsmount(2), Linux
// 5.2.)
func (m Mount) OpenDetached() (*os.File, error) { return m.openDetached(unix.MOUNT_ATTR_RDONLY) }

// OpenDetachedWritable is OpenDetached with a writable mount, if the file system is
// writable.
func (m Mount) OpenDetachedWritable() (*os.File, error) { return m.openDetached(0) }

func (m Mount) openDetached(further int) (*os.File, error) {
	fsfd, err := unix.Fsopen(m.Type, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, m.newError("fsopen", err, -1)
	}
	defer unix.Close(fsfd)
	if err := m.configure(fsfd); err != nil {
		return nil, err
	}
	attributes := further | unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, m.newError("fsmount", err, fsfd)
	}
	return os.NewFile(uintptr(mfd), m.Source), nil
}
