package treediff

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// comparer compares entries so that no difference is missed.
type comparer struct {
	ctx         context.Context
	left, right []byte // buffers
}

// changed reports whether an image would have to say something else of the new entry.
func (c *comparer) changed(newDir, oldDir int, name string, n, o unix.Stat_t) (bool, error) {
	kind := n.Mode & unix.S_IFMT
	if statDiffers(n, o) || fsat.InodeOf(n) == fsat.InodeOf(o) {
		return statDiffers(n, o), nil
	}
	if kind == unix.S_IFREG || kind == unix.S_IFDIR { // others have no such attributes
		if differ, err := xattrsDiffer(newDir, oldDir, name, isLayerXattr); err != nil || differ {
			return differ, err
		}
	}
	return c.contentDiffers(newDir, oldDir, name, n)
}

// exact compares everything, for the copy of a tree.
type exact struct {
	comparer
	clones bool
}

func (e *exact) different(newDir, oldDir int, name string, n, o unix.Stat_t) (bool, error) {
	if statDiffers(n, o) || n.Mtim != o.Mtim {
		return true, nil
	}
	if n.Mode&unix.S_IFMT != unix.S_IFDIR && (n.Nlink != o.Nlink || e.clones && (n.Ino != o.Ino || n.Ctim != o.Ctim)) {
		return true, nil
	}
	differ, err := xattrsDiffer(newDir, oldDir, name, func(string) bool { return true })
	if err != nil || differ || e.clones {
		return differ, err
	}
	return e.contentDiffers(newDir, oldDir, name, n)
}

// xattrsDiffer compares the extended attributes that are wanted.
func xattrsDiffer(newDir, oldDir int, name string, wanted func(string) bool) (bool, error) {
	names, err := listXattr(newDir, name, wanted)
	if err != nil {
		return false, err
	}
	old, err := listXattr(oldDir, name, wanted)
	if err != nil || !slices.Equal(names, old) {
		return true, err
	}
	for _, attr := range names {
		a, err := fsat.GetXattr(newDir, name, attr)
		if err != nil {
			return false, err
		}
		b, err := fsat.GetXattr(oldDir, name, attr)
		if err != nil || !bytes.Equal(a, b) {
			return true, err
		}
	}
	return false, nil
}

// listXattr returns the names of the wanted attributes, sorted.
func listXattr(dir int, name string, wanted func(string) bool) ([]string, error) {
	names, err := fsat.ListXattr(dir, name)
	names = slices.DeleteFunc(names, func(attr string) bool { return !wanted(attr) })
	slices.Sort(names)
	return names, err
}

// contentDiffers compares what two files of one size, or two symlinks, hold.
func (c *comparer) contentDiffers(newDir, oldDir int, name string, n unix.Stat_t) (bool, error) {
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.bytesDiffer(newDir, oldDir, name, n.Size)
	case unix.S_IFLNK:
		return targetsDiffer(newDir, oldDir, name)
	}
	return false, nil
}

func targetsDiffer(newDir, oldDir int, name string) (bool, error) {
	a, err := fsat.Readlink(newDir, name)
	if err != nil {
		return false, err
	}
	b, err := fsat.Readlink(oldDir, name)
	return a != b, err
}

// portion is how much is compared between two looks at the context.
const portion = 1 << 20

// bytesDiffer compares two files of one size.
func (c *comparer) bytesDiffer(newDir, oldDir int, name string, size int64) (bool, error) {
	a, err := openFile(newDir, name)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := openFile(oldDir, name)
	if err != nil {
		return false, err
	}
	defer b.Close()
	if c.left == nil {
		c.left, c.right = make([]byte, portion), make([]byte, portion)
	}
	left, right := c.left[:min(portion, size+1)], c.right[:min(portion, size+1)] // the end shows in the first read
	for {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		n, err := io.ReadFull(a, left)
		if ignoreEOF(err) != nil {
			return false, err
		}
		m, oldErr := io.ReadFull(b, right)
		if ignoreEOF(oldErr) != nil {
			return false, oldErr
		}
		if !bytes.Equal(left[:n], right[:m]) {
			return true, nil
		}
		if err != nil || oldErr != nil {
			return false, nil
		}
	}
}

// ignoreEOF returns err, or nil when err is the end of a file.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func openFile(dir int, name string) (*os.File, error) {
	fd, err := fsat.OpenFile(dir, name)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
