package treediff

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treesize"
)

// Result is what a comparison found.
type Result struct {
	Changes []Change // sorted by path, so parents first
	// Size is the apparent size of what is new or modified: everything but
	// directories by its length, hard links once.
	Size int64
	// Allocated is the same by what it takes on disk.
	Allocated int64
}

// Trees compares the tree at newDir with the one at oldDir by the attributes of files, and
// reads no content: an estimate. With oldDir nil, everything is added.
func Trees(ctx context.Context, newDir, oldDir *os.File) (Result, error) {
	w := &walker{ctx: ctx, differs: differentStat}
	return w.compareRoots(newDir, oldDir, true, nil)
}

// Merged compares the merged trees of two stacks of layers. layers are the directories of
// those layers that only one of the stacks has. What no such layer has is the same in both
// trees and is passed over, so the time depends on these layers and not on the trees.
func Merged(ctx context.Context, newDir, oldDir *os.File, layers []*os.File) (Result, error) {
	w := &walker{ctx: ctx, stacked: true, differs: (&comparer{ctx: ctx}).changed}
	dirs := make([]int, len(layers))
	for i, layer := range layers {
		dirs[i] = int(layer.Fd())
	}
	defer runtime.KeepAlive(layers)
	return w.compareRoots(newDir, oldDir, true, dirs)
}

// Exact compares two trees of which nothing may be lost, and finds more than Merged
// does: all extended attributes, hard links, times of directories. Of clones, trees that a
// file system has made of one another, each file that was not touched has its inode and its
// time of change; of other copies content is read.
func Exact(ctx context.Context, newDir, oldDir *os.File, clones bool) (Result, error) {
	w := &walker{ctx: ctx, differs: (&exact{comparer{ctx: ctx}, clones}).different}
	return w.compareRoots(newDir, oldDir, true, nil)
}

// Upper compares an overlay's upper directory with parent, a view of all that
// lies below it.
func Upper(ctx context.Context, upper, parent *os.File) (Result, error) {
	w := &walker{ctx: ctx, upper: true, differs: (&comparer{ctx: ctx}).changed}
	return w.compareRoots(upper, parent, false, nil)
}

func (w *walker) compareRoots(newDir, oldDir *os.File, whole bool, layers []int) (Result, error) {
	old := nothing
	if oldDir != nil {
		old = int(oldDir.Fd())
	}
	_, err := w.dir("", dirs{int(newDir.Fd()), old, layers}, whole)
	runtime.KeepAlive(newDir)
	runtime.KeepAlive(oldDir)
	return w.result(), err
}

// nothing stands for a directory that is not there.
const nothing = -1

// dirs are the directories of one path.
type dirs struct {
	new, old int
	layers   []int // with walker.stacked: of the layers that only one stack has
}

type walker struct {
	ctx     context.Context
	differs func(newDir, oldDir int, name string, n, o unix.Stat_t) (bool, error)
	upper   bool // the new tree is an upper directory: whiteouts and opaque marks speak
	stacked bool // what is in no layer of dirs is the same in both trees
	changes []Change
	sum     treesize.Sum
}

func (w *walker) result() Result { return Result{sorted(w.changes), w.sum.Apparent, w.sum.Allocated} }

func (w *walker) add(path string, kind Kind) {
	w.changes = append(w.changes, Change{path, kind})
}

// count adds the size of an entry that is new or modified.
func (w *walker) count(st unix.Stat_t) {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		w.sum.Add(st)
	}
}

// dir compares two directories of the same path. With whole set, what only
// the old one has was deleted; otherwise it shines through.
func (w *walker) dir(path string, d dirs, whole bool) (changed bool, err error) {
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	if len(path) > unix.PathMax {
		return false, fault.NewWithRemedy(fault.LimitReached, "directories are nested deeper than a path can say: %.60q…", path)
	}
	before := len(w.changes)
	entries, err := fsat.ReadDir(d.new)
	if err != nil {
		return false, err
	}
	same, err := w.findSame(d, entries)
	if err != nil {
		return false, err
	}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if same[e.Name] {
			seen[e.Name] = true
			continue
		}
		here, err := w.entry(path, d, e)
		if err != nil {
			return false, err
		}
		seen[e.Name] = here
	}
	if whole && d.old != nothing {
		if err := w.reportDeleted(path, d.old, seen); err != nil {
			return false, err
		}
	}
	return len(w.changes) > before, nil
}

// findSame returns the names that both directories have, and no layer of one stack only:
// each stack has them from the same layers.
func (w *walker) findSame(d dirs, entries []fsat.DirEntry) (map[string]bool, error) {
	if !w.stacked || d.old == nothing {
		return nil, nil
	}
	same := make(map[string]bool, len(entries))
	old, err := fsat.ReadDir(d.old)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		same[e.Name] = true
	}
	for _, layer := range d.layers {
		names, err := fsat.ReadDir(layer)
		if err != nil {
			return nil, err
		}
		for _, e := range names {
			delete(same, e.Name)
		}
	}
	return same, nil
}

// entry compares one name of the new directory. It returns false when there
// is nothing of that name to see: it is whited out, and reported here, or was
// deleted while we looked.
func (w *walker) entry(dir string, d dirs, e fsat.DirEntry) (accounted bool, err error) {
	n, err := fsat.Stat(d.new, e.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	o, exists, err := statOld(d.old, e.Name)
	if err != nil {
		return false, err
	}
	path := dir + "/" + e.Name
	if w.upper && overlayfs.IsWhiteout(n.Mode, n.Rdev) {
		if exists {
			w.add(path, Delete)
		}
		return true, nil
	}
	reported, err := w.report(path, d, e.Name, n, o, exists)
	if err != nil || n.Mode&unix.S_IFMT != unix.S_IFDIR {
		return true, err
	}
	changed, err := w.compareDirs(path, d, e.Name, exists && o.Mode&unix.S_IFMT == unix.S_IFDIR)
	if changed && !reported {
		w.add(path, Modify)
	}
	return true, err
}

// report adds the change of the entry itself, if there is one.
func (w *walker) report(path string, d dirs, name string, n, o unix.Stat_t, exists bool) (bool, error) {
	kind := Add
	if exists {
		differs, err := w.differs(d.new, d.old, name, n, o)
		if isReplaced(err) {
			return false, nil // deleted or replaced while we looked
		}
		if err != nil || !differs {
			return false, err
		}
		kind = Modify
	}
	w.add(path, kind)
	w.count(n)
	return true, nil
}

// isReplaced reports whether an error says that a name went away, or is of another type now.
func isReplaced(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// compareDirs compares the entries of two directories of the same name.
func (w *walker) compareDirs(path string, d dirs, name string, oldIsDir bool) (changed bool, err error) {
	child := dirs{old: nothing}
	child.new, err = fsat.OpenDir(d.new, name)
	if isReplaced(err) {
		return false, nil // deleted or replaced while we looked
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, fsat.Close(child.new)) }()
	if oldIsDir {
		if child.old, err = fsat.OpenDir(d.old, name); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, fsat.Close(child.old)) }()
	}
	whole := !w.upper
	if w.upper && oldIsDir {
		if whole, err = overlayfs.IsOpaqueDir(child.new); err != nil {
			return false, err
		}
	}
	for _, layer := range d.layers {
		fd, err := fsat.OpenDir(layer, name)
		if isReplaced(err) {
			continue // this layer has none
		}
		if err != nil {
			return false, err
		}
		defer fsat.CloseQuietly(fd)
		child.layers = append(child.layers, fd)
	}
	return w.dir(path, child, whole)
}

// reportDeleted reports the entries that only the old directory has as deleted.
func (w *walker) reportDeleted(path string, oldFD int, seen map[string]bool) error {
	entries, err := fsat.ReadDir(oldFD)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !seen[e.Name] {
			w.add(path+"/"+e.Name, Delete)
		}
	}
	return nil
}

func statOld(dir int, name string) (st unix.Stat_t, exists bool, err error) {
	if dir == nothing {
		return st, false, nil
	}
	st, err = fsat.Stat(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return st, false, nil
	}
	return st, err == nil, err
}
