package mount

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// inDir runs fn on a thread of its own whose working directory is dir, so
// that relative paths work without a fork and without moving the process. The
// thread has a private fs_struct, ends with the call, and first leaves dir: a
// working directory would keep the dataset from being unmounted.
func inDir(dir string, fn func() error) error {
	if dir == "" {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must not be reused
		done <- fromDir(dir, fn)
	}()
	return <-done
}

func fromDir(dir string, fn func() error) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the thread's working directory: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter %q: %w", dir, err)
	}
	err := fn()
	if back := unix.Chdir("/"); back != nil && err == nil {
		err = fmt.Errorf("leave %q: %w", dir, back)
	}
	return err
}
