package fsat

import (
	"errors"

	"golang.org/x/sys/unix"
)

// From linux/fs.h: FS_IMMUTABLE_FL and FS_APPEND_FL, the flags of chattr(1) that keep a file
// from being removed, or a directory from losing an entry.
const (
	immutableFlag = 0x10
	appendFlag    = 0x20
	keepingFlags  = immutableFlag | appendFlag
)

// clearKeepingFlags clears the flags that keep name in its directory, of both. It reports
// whether there were any. Only regular files and directories have flags.
func clearKeepingFlags(dirfd int, name string) (cleared bool, err error) {
	cleared, err = clearFlags(dirfd)
	if err != nil {
		return cleared, err
	}
	st, err := Stat(dirfd, name)
	if err != nil {
		return cleared, ignoreMissing(err)
	}
	var fd int
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		fd, err = OpenFile(dirfd, name)
	case unix.S_IFDIR:
		fd, err = OpenDir(dirfd, name)
	default:
		return cleared, nil
	}
	if err != nil {
		return cleared, ignoreMissing(err)
	}
	defer CloseQuietly(fd)
	own, err := clearFlags(fd)
	return cleared || own, err
}

// clearFlags clears the flags of an open file or directory, and commits that. OpenZFS logs the
// removal of a name ahead of changed flags, or without them. Its replay fails then, and nothing
// behind is replayed.
func clearFlags(fd int) (cleared bool, err error) {
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	if err != nil || flags&keepingFlags == 0 {
		return false, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^keepingFlags)); err != nil {
		return true, err
	}
	return true, SyncFile(fd)
}

// removeKept calls remove. It tries again without the flags of chattr(1) that kept the name.
func removeKept(dirfd int, name string, remove func(dirfd int, name string) error) error {
	err := remove(dirfd, name)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	if cleared, flagErr := clearKeepingFlags(dirfd, name); flagErr != nil || !cleared {
		return errors.Join(err, flagErr)
	}
	return remove(dirfd, name)
}

// LostFlags returns the letters of chattr(1) for a file's flags that a copy does not have:
// "i" immutable, "a" append only. It reads them by statx(2), without opening the file.
func LostFlags(dirfd int, name string) (string, error) {
	var st unix.Statx_t
	err := do("statx", name, func() error {
		return unix.Statx(dirfd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, 0, &st)
	})
	letters := ""
	if st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0 {
		letters += "i"
	}
	if st.Attributes&unix.STATX_ATTR_APPEND != 0 {
		letters += "a"
	}
	return letters, err
}
