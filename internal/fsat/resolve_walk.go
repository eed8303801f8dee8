package fsat

import (
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symlinks one path may pass, as in the kernel.
const maxLinks = 40

// chunk is how much of a path goes into one system call (PATH_MAX is 4096).
const chunk = 4000

// walk resolves a path component by component; the kernel confines each step.
// It holds one descriptor, whatever the depth.
type walk struct {
	root    int
	at      int      // where it stands; -1: at the root
	real    []string // the way from the root to there, free of symlinks
	todo    []string // components still to go
	links   int
	strict  bool
	missing Maker
}

// run walks path and returns the directory's descriptor.
func (w *walk) run(path []string) (int, error) {
	w.todo = path
	for len(w.todo) > 0 {
		name := w.todo[0]
		w.todo = w.todo[1:]
		if err := w.step(name); err != nil {
			w.moveTo(-1)
			return -1, err
		}
	}
	if w.at < 0 {
		return openAncestor(w.root, ".", strict)
	}
	return w.at, nil
}

// dir is the dirfd to look names up in.
func (w *walk) dir() int {
	if w.at < 0 {
		return w.root
	}
	return w.at
}

// moveTo makes fd the place where the walk stands.
func (w *walk) moveTo(fd int) {
	if w.at >= 0 {
		CloseQuietly(w.at)
	}
	w.at = fd
}

func (w *walk) step(name string) error {
	switch name {
	case "", ".":
		return nil
	case "..":
		return w.up()
	}
	fd, err := openStep(w.dir(), name)
	switch {
	case err == unix.ENOTDIR:
		return w.through(name)
	case err == unix.ENOENT:
		return w.make(name, false)
	case err != nil:
		return err
	}
	w.enter(fd, name)
	return nil
}

// openStep opens one component; of a symlink the kernel says ENOTDIR.
func openStep(dirfd int, name string) (int, error) {
	return openat2(dirfd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, strict)
}

func (w *walk) enter(fd int, name string) {
	w.moveTo(fd)
	w.real = append(w.real, name)
}

// up leaves the directory. Opening ".." would trust that nobody moved it, so
// the way down is walked again.
func (w *walk) up() error {
	if len(w.real) == 0 {
		return ErrEscapes
	}
	w.real = w.real[:len(w.real)-1]
	fd, err := openReal(w.root, w.real)
	if err != nil {
		return err
	}
	w.moveTo(fd)
	return nil
}

// through follows the symlink name, or finds that it is none.
func (w *walk) through(name string) error {
	target, err := readlink(w.dir(), name)
	switch {
	case err == unix.EINVAL:
		return w.make(name, true)
	case err != nil:
		return err
	case w.strict:
		return unix.ENOTDIR
	}
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	if strings.HasPrefix(target, "/") {
		w.moveTo(-1)
		w.real = nil
	}
	w.todo = append(strings.Split(target, "/"), w.todo...)
	return nil
}

// make has the caller make the directory, and enters it.
func (w *walk) make(name string, exists bool) error {
	switch {
	case w.missing == nil && exists:
		return unix.ENOTDIR
	case w.missing == nil:
		return unix.ENOENT
	}
	if err := w.missing(w.dir(), name, exists); err != nil {
		return err
	}
	fd, err := openStep(w.dir(), name)
	if err == nil {
		w.enter(fd, name)
	}
	return err
}

// openReal opens the directory at a way free of symlinks, in as few calls as
// its length allows; -1 stands for the root.
func openReal(root int, way []string) (int, error) {
	at := -1
	for len(way) > 0 {
		n := fitting(way)
		from := root
		if at >= 0 {
			from = at
		}
		fd, err := openAncestor(from, strings.Join(way[:n], "/"), strict)
		if at >= 0 {
			CloseQuietly(at)
		}
		if err != nil {
			return -1, err
		}
		at, way = fd, way[n:]
	}
	return at, nil
}

// fitting is how many components, at least one, fit into a chunk.
func fitting(way []string) int {
	size := 0
	for i, name := range way {
		size += len(name) + 1
		if i > 0 && size > chunk {
			return i
		}
	}
	return len(way)
}
