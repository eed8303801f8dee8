package zfs

import (
	"unsafe" // for go:linkname, too

	"golang.org/x/sys/unix"
)

// The runtime exports these for programs that make system calls of their own.
//
//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// sigsetSize is that of the kernel's sigset_t (linux/signal.h).
const sigsetSize = 8

// requestToDeath is the system call ioctl for a request in which the module starts threads. A
// signal that comes just then is forgotten (spl_kthread_create clears TIF_SIGPENDING, OpenZFS
// 2.1 to 2.4). If it was SIGKILL, this thread would survive its process, wait for a part of Go's
// runtime that nobody gives back, and so keep the dead process from going. A changed mask has
// the kernel look again, before the runtime is asked for anything. masks is room for two.
//
//go:norace
//go:nosplit
func requestToDeath(fd, req, argument uintptr, masks *[2]uint64) unix.Errno {
	entersyscall()
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, fd, req, argument)
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, 0, uintptr(unsafe.Pointer(&masks[0])), sigsetSize, 0, 0)
	masks[1] = masks[0] ^ 1<<63 // SIGRTMAX, which nobody sends
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&masks[1])), 0, sigsetSize, 0, 0)
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&masks[0])), 0, sigsetSize, 0, 0)
	exitsyscall()
	return errno
}
