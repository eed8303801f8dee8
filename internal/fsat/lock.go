package fsat

import "golang.org/x/sys/unix"

// TryLock takes an exclusive flock(2) on the open file and does not wait. It returns
// EWOULDBLOCK when another has the lock. The lock ends with the file or the process.
func TryLock(fd int) error { return flock(fd, unix.LOCK_EX) }

// TryLockShared is TryLock for a lock that others may hold shared, too.
func TryLockShared(fd int) error { return flock(fd, unix.LOCK_SH) }

func flock(fd, how int) error {
	return do("lock", "", func() error { return unix.Flock(fd, how|unix.LOCK_NB) })
}
