package fsat

import (
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symlinks a path may pass: as many as containerd lets a layer's paths
// pass, and more than the kernel does.
const maxLinks = 255

// chunk is how much of a path goes into one system call (PATH_MAX is 4096).
const chunk = 4000

// walk resolves a path component by component; the kernel confines each step.
// It holds one descriptor, whatever the depth.
type walk struct {
	root      int
	at        int      // the current directory; -1: the root
	realPath  []string // the way from the root to there, free of symlinks
	remaining []string // components still to go
	links     int
	strict    bool
	missing   Maker
}

// run walks path and returns the directory's descriptor.
func (w *walk) run(path []string) (int, error) {
	w.remaining = path
	for len(w.remaining) > 0 {
		name := w.remaining[0]
		w.remaining = w.remaining[1:]
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

// moveTo makes fd the current directory.
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
		return w.goUp()
	}
	fd, err := openStep(w.dir(), name)
	switch {
	case err == unix.ENOTDIR:
		return w.followLink(name)
	case err == unix.ENOENT:
		return w.makeMissing(name, false)
	case err != nil:
		return err
	}
	w.descend(fd, name)
	return nil
}

// openStep opens one component. It returns ENOTDIR for a symlink.
func openStep(dirfd int, name string) (int, error) {
	return openat2(dirfd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, strict)
}

func (w *walk) descend(fd int, name string) {
	w.moveTo(fd)
	w.realPath = append(w.realPath, name)
}

// goUp goes to the parent directory. It resolves the path from the root again, because
// opening ".." would trust that nobody moved the directory. At the root it stays.
func (w *walk) goUp() error {
	if len(w.realPath) == 0 {
		return nil
	}
	w.realPath = w.realPath[:len(w.realPath)-1]
	fd, err := openReal(w.root, w.realPath)
	if err != nil {
		return err
	}
	w.moveTo(fd)
	return nil
}

// followLink follows the symlink name. Another file of that name is handled as missing.
func (w *walk) followLink(name string) error {
	target, err := readlink(w.dir(), name)
	switch {
	case err == unix.EINVAL:
		return w.makeMissing(name, true)
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
		w.realPath = nil
	}
	w.remaining = append(strings.Split(target, "/"), w.remaining...)
	return nil
}

// makeMissing calls the Maker for the directory name, and enters it.
func (w *walk) makeMissing(name string, exists bool) error {
	switch {
	case w.missing == nil && exists:
		return unix.ENOTDIR
	case w.missing == nil:
		return unix.ENOENT
	}
	if err := w.missing(w.dir(), strings.Join(w.realPath, "/"), name, exists); err != nil {
		return err
	}
	fd, err := openStep(w.dir(), name)
	if err == nil {
		w.descend(fd, name)
	}
	return err
}

// openReal opens the directory at a path without symlinks, in as few calls as its length
// allows. It returns -1 for the root.
func openReal(root int, way []string) (int, error) {
	at := -1
	for len(way) > 0 {
		n := countFitting(way)
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

// countFitting returns how many components, at least one, fit into a chunk.
func countFitting(way []string) int {
	size := 0
	for i, name := range way {
		size += len(name) + 1
		if i > 0 && size > chunk {
			return i
		}
	}
	return len(way)
}
