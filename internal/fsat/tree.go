package fsat

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Visitor is shown a tree, depth first. A path is relative to the root; the
// descriptors belong to the walk.
type Visitor interface {
	// Enter is called with a directory, open as fd, before its content.
	Enter(parent int, path Path, fd int) error
	// File is called with anything else. typ is DT_UNKNOWN if the walk does not know it.
	File(parent int, path Path, typ uint8) error
	// Leave is called with a directory after its content.
	Leave(parent int, path Path) error
}

// Path is the path of an entry. Only String allocates it.
type Path struct {
	dir  []byte // "" or "a/b/"
	Name string
}

// String returns the path from the root, without a leading slash.
func (p Path) String() string { return string(p.dir) + p.Name }

// openLevels is how many levels of a tree stay open at once. Below, the walk goes back up
// through "..", and checks where it arrives.
const openLevels = 64

// errMoved is returned when a directory has another parent than at the way down.
var errMoved = errors.New("directory was moved while it was walked")

// level is a directory the walk is in.
type level struct {
	name    string
	fd      int // -1: closed for the sake of deeper ones
	dev     uint64
	ino     uint64
	dirLen  int // of the path that leads here, with its slash
	entries []DirEntry
	more    bool  // the directory may have entries after these
	shown   int64 // the position after the last entry that was shown
}

type treeWalk struct {
	visitor Visitor
	sorted  bool
	removes bool // the visitor removes what it is shown
	levels  []level
	dir     []byte // the path of the deepest level, with a slash
}

// Walk shows the visitor everything below the directory root; with sorted, in the byte
// order of names. An entry that vanishes meanwhile is skipped. A sorted walk holds all names
// of each directory that it is in; an unsorted one holds a portion of them, because a layer
// tar can make directories of millions of long names.
func Walk(ctx context.Context, root int, sorted bool, v Visitor) error {
	return (&treeWalk{visitor: v, sorted: sorted}).walk(ctx, root)
}

func (w *treeWalk) walk(ctx context.Context, root int) error {
	defer w.close()
	fd, err := OpenDir(root, ".")
	if err != nil {
		return err
	}
	if err := w.push("", fd); err != nil {
		return err
	}
	for len(w.levels) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.next(); err != nil {
			return err
		}
	}
	return nil
}

func (w *treeWalk) close() {
	for _, l := range w.levels {
		if l.fd >= 0 {
			CloseQuietly(l.fd)
		}
	}
}

func (w *treeWalk) top() *level { return &w.levels[len(w.levels)-1] }

// next shows the deepest level's next entry, or leaves it.
func (w *treeWalk) next() error {
	l := w.top()
	if len(l.entries) == 0 {
		if !l.more {
			return w.pop()
		}
		return w.readMore(l)
	}
	e := l.entries[0]
	l.entries, l.shown = l.entries[1:], e.next
	typ, err := typeOf(l.fd, e)
	if err != nil || typ == unix.DT_UNKNOWN {
		return err
	}
	if typ != unix.DT_DIR {
		return w.visitor.File(l.fd, Path{w.dir, e.Name}, typ)
	}
	return w.enter(l.fd, e.Name)
}

// typeOf returns an entry's type, from the file if the directory does not store it.
// DT_UNKNOWN means that the entry has vanished.
func typeOf(dirfd int, e DirEntry) (uint8, error) {
	if e.Type != unix.DT_UNKNOWN {
		return e.Type, nil
	}
	st, err := Stat(dirfd, e.Name)
	if errors.Is(err, unix.ENOENT) {
		return unix.DT_UNKNOWN, nil
	}
	return uint8(st.Mode & unix.S_IFMT >> 12), err
}

func (w *treeWalk) enter(parent int, name string) error {
	fd, err := OpenDir(parent, name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return w.visitor.File(parent, Path{w.dir, name}, unix.DT_UNKNOWN)
	case err != nil:
		return err
	}
	if err := w.visitor.Enter(parent, Path{w.dir, name}, fd); err != nil {
		CloseQuietly(fd)
		return err
	}
	return w.push(name, fd)
}

// push makes the directory fd the deepest level.
func (w *treeWalk) push(name string, fd int) error {
	l := level{name: name, fd: fd, dirLen: len(w.dir)}
	if name != "" {
		w.dir = append(append(w.dir, name...), '/')
	}
	w.levels = append(w.levels, l)
	if err := w.readMore(w.top()); err != nil {
		return err
	}
	return w.closeFarLevel()
}

// readMore reads the next portion of a directory, or all of it for a sorted walk.
func (w *treeWalk) readMore(l *level) (err error) {
	if w.sorted {
		l.entries, err = ReadDir(l.fd)
		Sort(l.entries)
	} else {
		l.entries, err = readPortion(l.fd)
		l.more = len(l.entries) > 0
	}
	if l.name != "" {
		err = ignoreMissing(err) // a directory that was removed meanwhile
	}
	return err
}

// closeFarLevel closes the level that is openLevels above the deepest one, and stores its
// identity for the way back.
func (w *treeWalk) closeFarLevel() error {
	i := len(w.levels) - 1 - openLevels
	if i < 0 || w.levels[i].fd < 0 {
		return nil
	}
	l := &w.levels[i]
	st, err := StatFD(l.fd)
	if err != nil {
		return err
	}
	CloseQuietly(l.fd)
	l.fd, l.dev, l.ino = -1, st.Dev, st.Ino
	if !w.sorted { // the names of thousands of levels would be many
		l.more = l.more || len(l.entries) > 0
		l.entries = nil
	}
	return nil
}

// pop leaves the deepest level.
func (w *treeWalk) pop() error {
	l := *w.top()
	w.dir = w.dir[:l.dirLen]
	if len(w.levels) > 1 {
		if err := w.reopen(&w.levels[len(w.levels)-2], l.fd); err != nil {
			return err
		}
	}
	CloseQuietly(l.fd)
	w.levels = w.levels[:len(w.levels)-1]
	if len(w.levels) == 0 {
		return nil
	}
	return w.visitor.Leave(w.top().fd, Path{w.dir, l.name})
}

// reopen opens the level again, from the child that is still open.
func (w *treeWalk) reopen(l *level, child int) error {
	if l.fd >= 0 {
		return nil
	}
	fd, err := openUp(child)
	if err != nil {
		return err
	}
	st, err := StatFD(fd)
	if err == nil && (st.Dev != l.dev || st.Ino != l.ino) {
		err = pathError("walk", l.name, errMoved)
	}
	if err == nil && l.more && !w.removes { // else what was shown is gone, and positions may have moved
		_, err = unix.Seek(fd, l.shown, 0)
	}
	if err != nil {
		CloseQuietly(fd)
		return err
	}
	l.fd = fd
	return nil
}

// openUp opens a directory's parent. The caller checks its identity.
func openUp(fd int) (int, error) {
	var up int
	err := do("open", "..", func() error {
		var err error
		up, err = unix.Openat(fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return up, err
}
