package mount

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenDetached mounts m in no name space and returns its root: nobody else sees the
// mount, and it ends with the file, however the process does. Through it nothing
// can be written, whatever the file system allows, which is mounted as others
// have it. Target and Flags are of no use here. (fsmount(2), Linux 5.2.)
func (m Mount) OpenDetached() (*os.File, error) { return m.detached(unix.MOUNT_ATTR_RDONLY) }

// OpenDetachedWritable is Detached for a root that is written through, as far as the
// file system allows.
func (m Mount) OpenDetachedWritable() (*os.File, error) { return m.detached(0) }

func (m Mount) detached(further int) (*os.File, error) {
	fsfd, err := unix.Fsopen(m.Type, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, m.refused("fsopen", err, -1)
	}
	defer unix.Close(fsfd)
	if err := m.configure(fsfd); err != nil {
		return nil, err
	}
	attributes := further | unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, m.refused("fsmount", err, fsfd)
	}
	return os.NewFile(uintptr(mfd), m.Source), nil
}
