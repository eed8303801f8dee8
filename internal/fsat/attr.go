package fsat

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Stat is fstatat(2) of name itself; it does not follow a symlink.
func Stat(dirfd int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := do("stat", name, func() error {
		return unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

// StatFD is fstat(2).
func StatFD(fd int) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := do("stat", "", func() error { return unix.Fstat(fd, &st) })
	return st, err
}

// Chown sets the owner of name itself; it does not follow a symlink.
func Chown(dirfd int, name string, uid, gid int) error {
	return do("chown", name, func() error {
		return unix.Fchownat(dirfd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// ChmodFD sets all twelve mode bits of the open file.
func ChmodFD(fd int, mode uint32) error {
	return do("chmod", "", func() error { return unix.Fchmod(fd, mode&0o7777) })
}

// Chmod sets the mode of name and refuses a symlink. fchmodat(2) would follow one, because
// its NOFOLLOW came with Linux 6.6; so Chmod opens the file first and checks its type.
func Chmod(dirfd int, name string, mode uint32) error {
	fd, err := openat2(dirfd, name, unix.O_PATH|unix.O_NOFOLLOW, 0, confined)
	if err != nil {
		return pathError("open", name, err)
	}
	defer CloseQuietly(fd)
	st, err := StatFD(fd)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		err = unix.ELOOP
	}
	if err != nil {
		return pathError("chmod", name, err)
	}
	pinned := "/proc/self/fd/" + strconv.Itoa(fd)
	return do("chmod", name, func() error { return unix.Fchmodat(unix.AT_FDCWD, pinned, mode&0o7777, 0) })
}

// The bounds on a file's times. Beyond them the arithmetic of Go and of file systems wraps.
// SetTimes clamps to them; a file system with a smaller range clamps further.
var (
	minTime = time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// SetTimes sets the times of name itself, to the nanosecond.
func SetTimes(dirfd int, name string, atime, mtime time.Time) error {
	ts := []unix.Timespec{timespec(atime), timespec(mtime)}
	return do("utimens", name, func() error {
		return unix.UtimesNanoAt(dirfd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// KeepTime sets the modification time of name itself to its current value. ZFS's intent log
// then has the time, which a write alone does not put there.
func KeepTime(dirfd int, name string) error {
	st, err := Stat(dirfd, name)
	if err != nil {
		return err
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
	return do("utimens", name, func() error {
		return unix.UtimesNanoAt(dirfd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// timespec converts t, clamped to the bounds.
func timespec(t time.Time) unix.Timespec {
	if t.Before(minTime) {
		t = minTime
	}
	if t.After(maxTime) {
		t = maxTime
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// Inode identifies a file: a tree may lie on several file systems, such as btrfs's
// subvolumes.
type Inode struct{ dev, ino uint64 }

// InodeOf returns the identity of a file, by its attributes.
func InodeOf(st unix.Stat_t) Inode { return Inode{st.Dev, st.Ino} }
