package treestack

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// Dir is a directory of a stack: the directories of its name, nearest first. Close closes
// them.
type Dir struct {
	parts    []part
	borrowed bool
}

// part is a directory of one layer.
type part struct {
	fd    int
	layer int
}

// Entry is a file as the stack shows it.
type Entry struct {
	Dir   int    // the descriptor of its directory, which is valid as long as the Dir
	Name  string // in that directory
	Layer int    // which layer it is in; 0 is the nearest
	Stat  unix.Stat_t
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// Root returns the root of a stack of layers, nearest first. The files stay the caller's.
func Root(layers ...*os.File) Dir {
	d := Dir{borrowed: true}
	for i, layer := range layers {
		d.parts = append(d.parts, part{int(layer.Fd()), i})
	}
	return d
}

// Close closes the directory.
func (d Dir) Close() {
	if d.borrowed {
		return
	}
	for _, p := range d.parts {
		fsat.CloseQuietly(p.fd)
	}
}

// FD returns the descriptor of the nearest directory, whose attributes the stack shows.
func (d Dir) FD() int { return d.parts[0].fd }

// Layer returns the layer of the nearest directory.
func (d Dir) Layer() int { return d.parts[0].layer }

// Below returns the directory without the part in the nearest layer. It is valid as long as
// d. It is false when nothing is below.
func (d Dir) Below() (Dir, bool) {
	rest := slices.DeleteFunc(slices.Clone(d.parts), func(p part) bool { return p.layer == 0 })
	return Dir{parts: rest, borrowed: true}, len(rest) > 0
}

// Find returns the file of a name. A name that is missing or deleted is unix.ENOENT.
func (d Dir) Find(name string) (Entry, error) {
	for _, p := range d.parts {
		st, err := fsat.Stat(p.fd, name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil && overlayfs.IsWhiteout(st.Mode, st.Rdev) {
			break
		}
		return Entry{p.fd, name, p.layer, st}, err
	}
	return Entry{}, unix.ENOENT
}

// Open opens a directory of the directory. A name that is none is unix.ENOTDIR.
func (d Dir) Open(name string) (_ Dir, err error) {
	var below Dir
	defer func() {
		if err != nil {
			below.Close()
		}
	}()
	for _, p := range d.parts {
		st, err := fsat.Stat(p.fd, name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return below, err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if len(below.parts) == 0 && !overlayfs.IsWhiteout(st.Mode, st.Rdev) {
				return below, unix.ENOTDIR
			}
			break
		}
		fd, err := fsat.OpenDir(p.fd, name)
		if err != nil {
			return below, err
		}
		below.parts = append(below.parts, part{fd, p.layer})
		if opaque, err := overlayfs.IsOpaqueDir(fd); err != nil || opaque {
			return below, err
		}
	}
	if len(below.parts) == 0 {
		return below, unix.ENOENT
	}
	return below, nil
}

// FindPath returns the file of a path and its directory, which the caller closes. It follows
// no symlink.
func (d Dir) FindPath(path string) (Dir, Entry, error) {
	at := Dir{parts: d.parts, borrowed: true}
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			e, err := at.Find(name)
			if err != nil {
				at.Close()
			}
			return at, e, err
		}
		next, err := at.Open(name)
		at.Close()
		if err != nil {
			return Dir{}, Entry{}, err
		}
		at, path = next, rest
	}
}

// Names returns the names that the directory shows, sorted.
func (d Dir) Names() ([]string, error) {
	hidden := map[string]bool{}
	var names []string
	for _, p := range d.parts {
		entries, err := fsat.ReadDir(p.fd)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if hidden[e.Name] {
				continue
			}
			hidden[e.Name] = true
			if e.Type == unix.DT_CHR || e.Type == unix.DT_UNKNOWN {
				st, err := fsat.Stat(p.fd, e.Name)
				if err != nil {
					return nil, err
				}
				if overlayfs.IsWhiteout(st.Mode, st.Rdev) {
					continue
				}
			}
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// maxLinks is the number of symlinks that a path may pass, as in package fsat.
const maxLinks = 255

// OpenParent opens the directory of a path and returns it with the path's last name.
// Symlinks on the way are followed within the stack, as a chroot would.
func OpenParent(root Dir, path string) (Dir, string, error) {
	w := resolution{way: []Dir{root}}
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i], path[i+1:]
	}
	if err := w.follow(dir); err != nil {
		w.closeAll()
		return Dir{}, "", err
	}
	last := w.way[len(w.way)-1]
	w.way = w.way[:len(w.way)-1]
	w.closeAll()
	return last, base, nil
}

// resolution is a walk along a path.
type resolution struct {
	way   []Dir // from the root to where the walk is
	links int
}

func (w *resolution) closeAll() {
	for _, d := range w.way {
		d.Close()
	}
}

func (w *resolution) follow(path string) error {
	for name := range strings.SplitSeq(path, "/") {
		if err := w.step(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *resolution) step(name string) error {
	at := w.way[len(w.way)-1]
	switch name {
	case "", ".":
		return nil
	case "..":
		if len(w.way) == 1 {
			return nil // as in a chroot
		}
		at.Close()
		w.way = w.way[:len(w.way)-1]
		return nil
	}
	e, err := at.Find(name)
	if err != nil {
		return err
	}
	if e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		return w.followLink(e)
	}
	dir, err := at.Open(name)
	if err == nil {
		w.way = append(w.way, dir)
	}
	return err
}

func (w *resolution) followLink(e Entry) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	target, err := fsat.Readlink(e.Dir, e.Name)
	if err != nil {
		return err
	}
	if strings.HasPrefix(target, "/") {
		for _, d := range w.way[1:] {
			d.Close()
		}
		w.way = w.way[:1]
	}
	return w.follow(target)
}
