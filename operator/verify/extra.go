package verify

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// extra looks for what the tar does not name.
type extra struct {
	*there
	way []level // directories from the root to where the walk is
}

// level is a directory on the way.
type level struct {
	ino   uint64
	leads bool // to something that the tar names
}

// nothingElse makes sure that all that is there was named, or leads to what was.
func (t *there) nothingElse(ctx context.Context) error {
	st, err := fsat.StatFD(t.root)
	if err != nil {
		return err
	}
	return fsat.Walk(ctx, t.root, false, &extra{t, []level{{ino: st.Ino}}})
}

func (x *extra) here() *level { return &x.way[len(x.way)-1] }

// Enter is part of fsat.Visitor.
func (x *extra) Enter(_ int, at fsat.Path, fd int) error {
	st, err := fsat.StatFD(fd)
	if err != nil {
		return err
	}
	x.way = append(x.way, level{ino: st.Ino})
	if x.base || x.hides[st.Ino] {
		return nil
	}
	value, err := fsat.GetXattrFD(fd, overlayfs.OpaqueXattr)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return nil
	case err == nil && overlayfs.IsOpaque(value):
		return fmt.Errorf("%q hides the directory below it, and the tar does not say so", at.String())
	}
	return err
}

// File is part of fsat.Visitor. Sockets are in no tar.
func (x *extra) File(parent int, at fsat.Path, _ uint8) error {
	if x.known[spot{x.here().ino, at.Name}] {
		x.here().leads = true
		return nil
	}
	st, err := fsat.Stat(parent, at.Name)
	if errors.Is(err, unix.ENOENT) || err == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return nil
	}
	if err != nil {
		return err
	}
	return unnamed(at)
}

// Leave is part of fsat.Visitor. Directories that no entry names are there when
// they lead to what one names.
func (x *extra) Leave(_ int, at fsat.Path) error {
	left := *x.here()
	x.way = x.way[:len(x.way)-1]
	if !left.leads && !x.known[spot{x.here().ino, at.Name}] {
		return unnamed(at)
	}
	x.here().leads = true
	return nil
}

func unnamed(at fsat.Path) error {
	return fmt.Errorf("%q is there, and the tar does not name it", at.String())
}
