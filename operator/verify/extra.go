package verify

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// extraFinder finds files that the tar does not name.
type extraFinder struct {
	*layerTree
	ancestors []ancestor // the directories from the root to the current one
}

// ancestor is a directory between the root and the current position.
type ancestor struct {
	ino   uint64
	leads bool // the tar names something below
}

// checkNothingExtra fails for a file that the tar neither names nor needs as a parent.
func (t *layerTree) checkNothingExtra(ctx context.Context) error {
	st, err := fsat.StatFD(t.root)
	if err != nil {
		return err
	}
	return fsat.Walk(ctx, t.root, false, &extraFinder{t, []ancestor{{ino: st.Ino}}})
}

func (x *extraFinder) current() *ancestor { return &x.ancestors[len(x.ancestors)-1] }

// Enter is part of fsat.Visitor.
func (x *extraFinder) Enter(_ int, at fsat.Path, fd int) error {
	st, err := fsat.StatFD(fd)
	if err != nil {
		return err
	}
	x.ancestors = append(x.ancestors, ancestor{ino: st.Ino})
	if x.base || x.opaqueDirs[st.Ino] {
		return nil
	}
	opaque, err := overlayfs.IsOpaqueDir(fd)
	if opaque {
		return fmt.Errorf("%q is opaque, but not in the tar", at.String())
	}
	return err
}

// File is part of fsat.Visitor. It ignores sockets, which a tar cannot have.
func (x *extraFinder) File(parent int, at fsat.Path, _ uint8) error {
	if x.namedLocations[location{x.current().ino, at.Name}] {
		x.current().leads = true
		return nil
	}
	st, err := fsat.Stat(parent, at.Name)
	if errors.Is(err, unix.ENOENT) || err == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return nil
	}
	if err != nil {
		return err
	}
	return unnamedError(at)
}

// Leave is part of fsat.Visitor. A directory that the tar does not name is allowed when
// the tar names something below.
func (x *extraFinder) Leave(_ int, at fsat.Path) error {
	left := *x.current()
	x.ancestors = x.ancestors[:len(x.ancestors)-1]
	if !left.leads && !x.namedLocations[location{x.current().ino, at.Name}] {
		return unnamedError(at)
	}
	x.current().leads = true
	return nil
}

func unnamedError(at fsat.Path) error {
	return fmt.Errorf("%q exists, but not in the tar", at.String())
}
