package overlayzfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// This file holds the package's only raw system calls.

// publish renames a finished directory into place, failing when the place is
// taken.
func publish(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return fault.New(fault.Exists, "%s already exists", to)
	}
	if err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, err)
	}
	return nil
}

// replaceEmpty renames a directory over an empty one in one step. os.Rename
// refuses any directory as the target before the kernel is asked.
func replaceEmpty(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, err)
	}
	return nil
}

// unlinkIfThere deletes a file's name; that there is none is no error.
// os.Remove would ask again whether it is a directory.
func unlinkIfThere(path string) error {
	if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unlink %q: %w", path, err)
	}
	return nil
}

// lockFile takes an exclusive lock that ends with the file or the process.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fault.New(fault.Busy, "another overlayzfs process uses this home (%s is locked)", f.Name())
	}
	if err != nil {
		return fmt.Errorf("lock %q: %w", f.Name(), err)
	}
	return nil
}

// isFile reports whether path leads to f.
func isFile(path string, f *os.File) (bool, error) {
	var there, ours unix.Stat_t
	if err := unix.Stat(path, &there); err != nil {
		return false, fmt.Errorf("stat %q: %w", path, err)
	}
	if err := unix.Fstat(int(f.Fd()), &ours); err != nil {
		return false, fmt.Errorf("stat %q: %w", f.Name(), err)
	}
	return there.Dev == ours.Dev && there.Ino == ours.Ino, nil
}

// hasAttributes reports whether path has that mode and owner.
func hasAttributes(path string, mode uint32, uid, gid int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return false, fmt.Errorf("stat %q: %w", path, err)
	}
	return st.Mode&0o7777 == mode && int(st.Uid) == uid && int(st.Gid) == gid, nil
}

// ownerOf is the owner of a file, past symbolic links.
func ownerOf(path string) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, fmt.Errorf("stat %q: %w", path, err)
	}
	return int(st.Uid), int(st.Gid), nil
}

// syncFileSystem makes everything written to f's file system durable. On ZFS
// it commits the intent log; with sync=disabled it does nothing.
func syncFileSystem(f *os.File) error {
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncfs %q: %w", f.Name(), err)
	}
	return nil
}

// kernelRelease is uname(2)'s release.
func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}
