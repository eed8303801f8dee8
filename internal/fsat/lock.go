package fsat

import "golang.org/x/sys/unix"

// TryLock takes an exclusive lock on the open file, which ends with it or with
// the process. When another has it, it is EWOULDBLOCK.
func TryLock(fd int) error {
	return do("lock", "", func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
}
