package verify

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// extraFinder finds files that the tar does not name.
type extraFinder struct {
	*layerTree
	ancestors []ancestor    // the directories from the root to the current one
	below     treestack.Dir // the layers below
	last      treestack.Dir // the directory of findBelow's last answer
}

// ancestor is a directory between the root and the current position.
type ancestor struct {
	ino    fsat.Inode
	leads  bool // the tar names something below
	opaque bool // the tar says that nothing below shows
}

// checkNothingExtra fails for a file that the tar neither names nor needs as a parent. A
// file that is as the layers below show it changes nothing.
func (t *layerTree) checkNothingExtra(ctx context.Context) error {
	root := int(t.layer.Dir.Fd())
	st, err := fsat.StatFD(root)
	if err != nil {
		return err
	}
	x := &extraFinder{layerTree: t, ancestors: []ancestor{{ino: fsat.InodeOf(st)}}}
	defer func() { x.last.Close() }()
	if !t.isBase() {
		stack, err := t.finder.Stack()
		if err != nil {
			return err
		}
		x.below, _ = stack.Below()
	}
	return fsat.Walk(ctx, root, false, x)
}

func (x *extraFinder) current() *ancestor { return &x.ancestors[len(x.ancestors)-1] }

// Enter is part of fsat.Visitor.
func (x *extraFinder) Enter(_ int, at fsat.Path, fd int) error {
	st, err := fsat.StatFD(fd)
	if err != nil {
		return err
	}
	ino := fsat.InodeOf(st)
	named := x.opaqueDirs[ino] || x.current().opaque
	x.ancestors = append(x.ancestors, ancestor{ino: ino, opaque: named})
	if x.isBase() || named {
		return nil
	}
	opaque, err := overlayfs.IsOpaqueDir(fd)
	if err != nil || !opaque {
		return err
	}
	if below, err := x.findBelow(at.String()); err != nil || below == nil || !below.IsDir() {
		return err
	}
	return fmt.Errorf("%q is opaque, but not in the tar", at.String())
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
	return x.checkUnnamed(treestack.Entry{Dir: parent, Name: at.Name, Stat: st}, at)
}

// checkUnnamed fails when an entry that the tar does not name differs from the layers below.
func (x *extraFinder) checkUnnamed(e treestack.Entry, at fsat.Path) error {
	below, err := x.findBelow(at.String())
	if err != nil {
		return err
	}
	if overlayfs.IsWhiteout(e.Stat.Mode, e.Stat.Rdev) && (below == nil && !x.isBase() || x.current().opaque) {
		return nil // it hides nothing, or what the tar hides as a whole
	}
	if below != nil {
		same, err := x.isSameFile(e, *below)
		if err != nil {
			return err
		}
		if same || looksUnchanged(e.Stat, below.Stat) {
			x.current().leads = true
		}
		if same {
			return nil
		}
		if looksUnchanged(e.Stat, below.Stat) {
			return x.keepUnproven(at.String(), rebuild.Unproven{Err: errors.New("is not in the tar, because Docker compares size and time, and only the content changed")})
		}
	}
	return fmt.Errorf("%q exists, but not in the tar", at.String())
}

// looksUnchanged reports whether Docker's own drivers, which compare no content, take two
// files for the same. A layer that they made lacks such a change in its tar.
func looksUnchanged(a, b unix.Stat_t) bool {
	return a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Rdev == b.Rdev && a.Size == b.Size && a.Mtim.Sec == b.Mtim.Sec
}

// Leave is part of fsat.Visitor. A directory that the tar does not name is allowed when
// the tar names something below.
func (x *extraFinder) Leave(parent int, at fsat.Path) error {
	left := *x.current()
	x.ancestors = x.ancestors[:len(x.ancestors)-1]
	if left.leads || x.opaqueDirs[left.ino] || x.impliedDirs[left.ino] || x.namedLocations[location{x.current().ino, at.Name}] {
		x.current().leads = true
		return nil
	}
	st, err := fsat.Stat(parent, at.Name)
	if err != nil {
		return err
	}
	return x.checkUnnamed(treestack.Entry{Dir: parent, Name: at.Name, Stat: st}, at)
}

// findBelow returns what the layers below show for a path of the layer, or nil. The answer
// is valid until the next call.
func (x *extraFinder) findBelow(path string) (*treestack.Entry, error) {
	dir, e, err := x.below.FindPath(path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x.last.Close()
	x.last = dir
	return &e, nil
}
