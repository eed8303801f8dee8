package treediff

import (
	"context"
	"errors"
	"io/fs"
	"os"

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

// Trees compares the tree at newDir with the one at oldDir; with oldDir nil,
// everything is added.
func Trees(ctx context.Context, newDir, oldDir *os.File) (Result, error) {
	old := nothing
	if oldDir != nil {
		old = int(oldDir.Fd())
	}
	w := &walker{ctx: ctx, differs: different}
	_, err := w.dir("", int(newDir.Fd()), old, true)
	return w.result(), err
}

// Exact compares two trees of which nothing may be lost, and finds more than Trees
// does: extended attributes, hard links, times of directories, and content that was
// replaced without a trace in size and time. Of clones, trees that a file system has
// made of one another, each file that was not touched has its inode and its time of
// change; of other copies content is read.
func Exact(ctx context.Context, newDir, oldDir *os.File, clones bool) (Result, error) {
	old := nothing
	if oldDir != nil {
		old = int(oldDir.Fd())
	}
	w := &walker{ctx: ctx, differs: exact{ctx, clones}.different}
	_, err := w.dir("", int(newDir.Fd()), old, true)
	return w.result(), err
}

// Upper compares an overlay's upper directory with parent, a view of all that
// lies below it.
func Upper(ctx context.Context, upper, parent *os.File) (Result, error) {
	w := &walker{ctx: ctx, upper: true, differs: different}
	_, err := w.dir("", int(upper.Fd()), int(parent.Fd()), false)
	return w.result(), err
}

// nothing stands for a directory that is not there.
const nothing = -1

type walker struct {
	ctx     context.Context
	differs func(newDir, oldDir int, name string, n, o unix.Stat_t) (bool, error)
	upper   bool // the new tree is an upper directory: whiteouts and opaque marks speak
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
func (w *walker) dir(path string, newFD, oldFD int, whole bool) (changed bool, err error) {
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	if len(path) > unix.PathMax {
		return false, fault.NewWithRemedy(fault.LimitReached, "directories are nested deeper than a path can say: %.60q…", path)
	}
	before := len(w.changes)
	entries, err := fsat.ReadDir(newFD)
	if err != nil {
		return false, err
	}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		here, err := w.entry(path, newFD, oldFD, e)
		if err != nil {
			return false, err
		}
		seen[e.Name] = here
	}
	if whole && oldFD != nothing {
		if err := w.reportDeleted(path, oldFD, seen); err != nil {
			return false, err
		}
	}
	return len(w.changes) > before, nil
}

// entry compares one name of the new directory. It returns false when there
// is nothing of that name to see: it is whited out, and reported here, or was
// deleted while we looked.
func (w *walker) entry(dir string, newFD, oldFD int, e fsat.DirEntry) (accounted bool, err error) {
	n, err := fsat.Stat(newFD, e.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	o, exists, err := statOld(oldFD, e.Name)
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
	reported, err := w.report(path, newFD, oldFD, e.Name, n, o, exists)
	if err != nil || n.Mode&unix.S_IFMT != unix.S_IFDIR {
		return true, err
	}
	changed, err := w.compareDirs(path, newFD, oldFD, e.Name, exists && o.Mode&unix.S_IFMT == unix.S_IFDIR)
	if changed && !reported {
		w.add(path, Modify)
	}
	return true, err
}

// report adds the change of the entry itself, if there is one.
func (w *walker) report(path string, newFD, oldFD int, name string, n, o unix.Stat_t, exists bool) (bool, error) {
	kind := Add
	if exists {
		differs, err := w.differs(newFD, oldFD, name, n, o)
		if err != nil || !differs {
			return false, err
		}
		kind = Modify
	}
	w.add(path, kind)
	w.count(n)
	return true, nil
}

// compareDirs compares the entries of two directories of the same name.
func (w *walker) compareDirs(path string, newFD, oldFD int, name string, oldIsDir bool) (changed bool, err error) {
	newChild, err := fsat.OpenDir(newFD, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // deleted while we looked
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, fsat.Close(newChild)) }()
	oldChild := nothing
	if oldIsDir {
		if oldChild, err = fsat.OpenDir(oldFD, name); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, fsat.Close(oldChild)) }()
	}
	whole := !w.upper
	if w.upper && oldIsDir {
		if whole, err = overlayfs.IsOpaqueDir(newChild); err != nil {
			return false, err
		}
	}
	return w.dir(path, newChild, oldChild, whole)
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
