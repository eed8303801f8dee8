package fsat

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// RemoveAll removes name below dirfd and everything in it, at any depth. It follows no
// symlink and crosses no mount. As root it ignores permissions and the flags of chattr(1). A
// missing name is no error.
func RemoveAll(ctx context.Context, dirfd int, name string) error {
	return RemoveAllThen(ctx, dirfd, name, func() {})
}

// RemoveAllThen is RemoveAll that calls removed after each deletion.
func RemoveAllThen(ctx context.Context, dirfd int, name string, removed func()) error {
	err := ignoreMissing(removeKept(dirfd, name, Unlink))
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	fd, err := OpenDir(dirfd, name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer CloseQuietly(fd)
	if err := removeContents(ctx, fd, removed); err != nil {
		return err
	}
	return ignoreMissing(removeKept(dirfd, name, Rmdir))
}

// RemoveContents empties the directory dirfd, as RemoveAll does.
func RemoveContents(ctx context.Context, dirfd int) error {
	return removeContents(ctx, dirfd, func() {})
}

func removeContents(ctx context.Context, dirfd int, removed func()) error {
	return (&treeWalk{visitor: remover{removed}, removes: true}).walk(ctx, dirfd)
}

func ignoreMissing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// remover is a visitor that removes what it is shown.
type remover struct{ removed func() }

func (remover) Enter(int, Path, int) error { return nil }

func (r remover) File(parent int, path Path, _ uint8) error {
	defer r.removed()
	return ignoreMissing(removeKept(parent, path.Name, Unlink))
}

func (r remover) Leave(parent int, path Path) error {
	defer r.removed()
	return ignoreMissing(removeKept(parent, path.Name, Rmdir))
}
