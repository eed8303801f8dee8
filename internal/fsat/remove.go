package fsat

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// RemoveAll removes name below dirfd and, if it is a directory, everything
// in it: at any depth, with any permissions if the process is root, never
// through a symlink and never across a mount. That name is missing is fine.
func RemoveAll(ctx context.Context, dirfd int, name string) error {
	err := ignoreMissing(Unlink(dirfd, name))
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	fd, err := OpenDir(dirfd, name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer CloseQuietly(fd)
	if err := RemoveContents(ctx, fd); err != nil {
		return err
	}
	return ignoreMissing(Rmdir(dirfd, name))
}

// RemoveContents empties the directory dirfd, as RemoveAll does.
func RemoveContents(ctx context.Context, dirfd int) error {
	return Walk(ctx, dirfd, false, remover{})
}

func ignoreMissing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// remover is the visitor that leaves nothing behind.
type remover struct{}

func (remover) Enter(int, Path, int) error { return nil }

func (remover) File(parent int, path Path, _ uint8) error {
	return ignoreMissing(Unlink(parent, path.Name))
}

func (remover) Leave(parent int, path Path) error {
	return ignoreMissing(Rmdir(parent, path.Name))
}
