package fsat

import (
	"context"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From include/uapi/linux/btrfs.h and btrfs_tree.h.
const (
	// snapDestroy is BTRFS_IOC_SNAP_DESTROY, _IOW(0x94, 15, struct btrfs_ioctl_vol_args).
	snapDestroy = 0x5000940f
	// subvolumeRoot is BTRFS_FIRST_FREE_OBJECTID, the inode of each subvolume's root and
	// of nothing else.
	subvolumeRoot = 256
)

// volArgs is struct btrfs_ioctl_vol_args.
type volArgs struct {
	_    int64
	name [4088]byte // ends with a NUL
}

// RemoveSubvolume removes the subvolume name of btrfs with all nested subvolumes. It takes
// the same time for a large one as for a small one. Unlike the removal of files it needs no
// space for copies of shared metadata. Anything but a subvolume is removed by RemoveAll. A
// missing name is no error.
func RemoveSubvolume(ctx context.Context, dirfd int, name string) error {
	switch err := removeKept(dirfd, name, destroySubvolume); err {
	case nil, unix.ENOENT:
		return nil
	case unix.ENOTTY, unix.EINVAL, unix.ENOTDIR:
		return RemoveAll(ctx, dirfd, name)
	case unix.ENOTEMPTY:
		if err := removeNested(ctx, dirfd, name); err != nil {
			return err
		}
		return pathError("delete subvolume", name, removeKept(dirfd, name, destroySubvolume))
	default:
		return pathError("delete subvolume", name, err)
	}
}

// removeNested removes all subvolumes in a tree, the deepest first.
func removeNested(ctx context.Context, dirfd int, name string) error {
	fd, err := OpenDir(dirfd, name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer CloseQuietly(fd)
	return Walk(ctx, fd, false, nestedRemover{})
}

// nestedRemover is a visitor that removes subvolumes.
type nestedRemover struct{}

func (nestedRemover) Enter(int, Path, int) error  { return nil }
func (nestedRemover) File(int, Path, uint8) error { return nil }

func (nestedRemover) Leave(parent int, path Path) error {
	st, err := Stat(parent, path.Name)
	if err != nil || st.Ino != subvolumeRoot {
		return ignoreMissing(err)
	}
	return pathError("delete subvolume", path.String(), removeKept(parent, path.Name, destroySubvolume))
}

// destroySubvolume removes the name at once; the kernel frees the space later.
func destroySubvolume(dirfd int, name string) error {
	var args volArgs
	if len(name) >= len(args.name) {
		return unix.ENAMETOOLONG
	}
	copy(args.name[:], name)
	return retryEINTR(func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dirfd), snapDestroy, uintptr(unsafe.Pointer(&args)))
		if errno != 0 {
			return errno
		}
		return nil
	})
}
