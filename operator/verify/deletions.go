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
func (t *layerTree) checkWhiteout(mark *entry, target string) error {
	e, _, err := t.find(target)
	switch {
	case errors.Is(err, errMissing): // there is nothing below either
		return t.findImplied(target)
	case err != nil:
		return err
	case e.Layer > 0:
		return fmt.Errorf("the deletion of %q is missing", target)
	case e.IsDir():
		return t.checkReplacedDir(mark, target)
	case overlayfs.IsWhiteout(e.Stat.Mode, e.Stat.Rdev):
		return nil
	}
	if own := t.entries.findEntry(target); own == nil {
		return fmt.Errorf("the deletion of %q is not a whiteout", target)
	}
	return nil
}

// checkReplacedDir checks a directory in the place of what the tar deletes.
func (t *layerTree) checkReplacedDir(mark *entry, target string) error {
	err := t.checkOpaque(target)
	own := t.entries.findEntry(target)
	if !errors.Is(err, errNotOpaque) || own == nil || own.number < mark.number {
		return err
	}
	return rebuild.Unproven{Err: fmt.Errorf("%w, although the tar deletes it before: engines differ", err)}
}

// findImplied finds the directory that a deletion without effect has implied.
func (t *layerTree) findImplied(name string) error {
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	e, _, err := t.find(dir)
	if err != nil || e.Layer > 0 || e.Stat.Mode&unix.S_IFMT != unix.S_IFLNK {
		return ignoreMissing(err)
	}
	through, fd, err := t.openThrough(dir)
	if err != nil || fd < 0 {
		return err
	}
	defer fsat.CloseQuietly(fd)
	defer through.Close()
	st, err := fsat.StatFD(fd)
	t.impliedDirs[fsat.InodeOf(st)] = true
	return err
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
	dir, fd, err := t.openThrough(link)
	if err != nil || fd < 0 {
		return err // else another entry says what is there
	}
	defer fsat.CloseQuietly(fd)
	defer dir.Close()
	if dir.Layer() > 0 {
		return errNotOpaque
	}
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

// openThrough opens the directory that a symlink leads to. fd is -1 where it leads to none.
func (t *layerTree) openThrough(link string) (dir treestack.Dir, fd int, err error) {
	stack, err := t.finder.Stack()
	if err != nil {
		return dir, -1, err
	}
	dir, _, err = treestack.OpenParent(stack, link+"/"+whiteout.OpaqueMarker)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return dir, -1, nil
	}
	if err != nil {
		return dir, -1, err
	}
	if fd, err = fsat.OpenDir(dir.FD(), "."); err != nil {
		dir.Close()
		return dir, -1, err
	}
	return dir, fd, nil
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
