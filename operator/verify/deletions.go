package verify

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// checkWhiteout fails when a deletion of the tar has no effect. The layer's own file of
// that name hides the one below, too; a directory has to be opaque.
func (t *layerTree) checkWhiteout(target string) error {
	e, _, err := t.find(target)
	switch {
	case errors.Is(err, errMissing): // there is nothing below either
		return t.findImplied(target)
	case err != nil:
		return err
	case e.Layer > 0:
		return fmt.Errorf("the deletion of %q is missing", target)
	case e.IsDir():
		return t.checkOpaque(target)
	case overlayfs.IsWhiteout(e.Stat.Mode, e.Stat.Rdev):
		return nil
	}
	if own := t.entries.findEntry(target); own == nil {
		return fmt.Errorf("the deletion of %q is not a whiteout", target)
	}
	return nil
}

// findImplied finds the directory that a deletion without effect has implied.
func (t *layerTree) findImplied(name string) error {
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	_, _, err := t.find(dir)
	return ignoreMissing(err)
}

// linksToDeletion reports whether an entry is a hard link to what an earlier entry of the tar
// deletes.
func (t *layerTree) linksToDeletion(e *entry) bool {
	for e != nil && e.header.Typeflag == tar.TypeLink {
		dir, base := path.Split(rebuild.CleanName(e.header.Linkname))
		if mark := t.entries.findEntry(dir + whiteout.Prefix + base); mark != nil && mark.number < e.number {
			return true
		}
		target := t.entries.findEntry(dir + base)
		if target == nil || target.number >= e.number {
			return false
		}
		if target.isWhiteoutDevice() {
			return true
		}
		e = target
	}
	return false
}

func ignoreMissing(err error) error {
	if errors.Is(err, errMissing) {
		return nil
	}
	return err
}

var errNotOpaque = errors.New("is not opaque, so the directory below shows")

// checkOpaque fails when something below a directory shows.
func (t *layerTree) checkOpaque(target string) error {
	if target == "." {
		return nil // without effect
	}
	e, _, err := t.find(target)
	switch {
	case errors.Is(err, errMissing):
		return nil
	case err != nil:
		return err
	case e.Layer == 0 && e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK:
		return t.checkOpaqueThrough(target)
	case !e.IsDir():
		return nil // another entry says what it is
	case e.Layer > 0:
		return errNotOpaque
	}
	t.opaqueDirs[fsat.InodeOf(e.Stat)] = true
	if t.isBase() {
		return nil
	}
	fd, err := fsat.OpenDir(e.Dir, e.Name)
	if err != nil {
		return err
	}
	defer fsat.CloseQuietly(fd)
	opaque, err := overlayfs.IsOpaqueDir(fd)
	if err != nil || opaque {
		return err
	}
	stack, err := t.finder.Stack()
	if err != nil {
		return err
	}
	parent, base, err := treestack.OpenParent(stack, target)
	if err != nil {
		return err
	}
	defer parent.Close()
	dir, err := parent.Open(base)
	if err != nil {
		return err
	}
	defer dir.Close()
	return hidesBelow(dir)
}

// checkOpaqueThrough checks the directory that a symlink of the layer leads to.
func (t *layerTree) checkOpaqueThrough(link string) error {
	stack, err := t.finder.Stack()
	if err != nil {
		return err
	}
	dir, _, err := treestack.OpenParent(stack, link+"/"+whiteout.OpaqueMarker)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // another entry says what is there
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if dir.Layer() > 0 {
		return errNotOpaque
	}
	fd, err := fsat.OpenDir(dir.FD(), ".")
	if err != nil {
		return err
	}
	defer fsat.CloseQuietly(fd)
	st, err := fsat.StatFD(fd)
	if err != nil {
		return err
	}
	t.opaqueDirs[fsat.InodeOf(st)] = true
	opaque, err := overlayfs.IsOpaqueDir(fd)
	if err != nil || opaque || t.isBase() {
		return err
	}
	return hidesBelow(dir)
}

// checkOpaqueXattr checks a directory whose entry has overlayfs's own mark. The plugin sets it,
// and containerd leaves it out.
func (t *layerTree) checkOpaqueXattr(e *entry) error {
	err := t.checkOpaque(e.name)
	if !errors.Is(err, errNotOpaque) {
		return err
	}
	delete(t.opaqueDirs, e.file)
	return rebuild.Unproven{Err: fmt.Errorf("%w, although the tar has the attribute %q: engines differ", err, overlayfs.OpaqueXattr)}
}

// hidesBelow fails when a directory shows a name of the layers below. Whiteouts and files
// of the layer itself hide one name each.
func hidesBelow(dir treestack.Dir) error {
	below, ok := dir.Below()
	if !ok {
		return nil
	}
	names, err := below.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := hidesName(dir, name); err != nil {
			return err
		}
	}
	return nil
}

func hidesName(dir treestack.Dir, name string) error {
	e, err := dir.Find(name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	case e.Layer > 0:
		return errNotOpaque
	case !e.IsDir():
		return nil
	}
	next, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer next.Close()
	return hidesBelow(next)
}
