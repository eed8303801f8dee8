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

// exact compares entries so that no difference is missed.
type exact struct {
	ctx    context.Context
	clones bool
}

func (e exact) different(newDir, oldDir int, name string, n, o unix.Stat_t) (bool, error) {
	kind := n.Mode & unix.S_IFMT
	if statDiffers(n, o) || n.Mtim != o.Mtim {
		return true, nil
	}
	if kind != unix.S_IFDIR && (n.Nlink != o.Nlink || e.clones && (n.Ino != o.Ino || n.Ctim != o.Ctim)) {
		return true, nil
	}
	if differ, err := xattrsDiffer(newDir, oldDir, name); err != nil || differ || e.clones {
		return differ, err
	}
	switch kind {
	case unix.S_IFREG:
		return e.contentDiffers(newDir, oldDir, name)
	case unix.S_IFLNK:
		return targetsDiffer(newDir, oldDir, name)
	}
	return false, nil
}

// xattrsDiffer compares all extended attributes, access control lists among them.
func xattrsDiffer(newDir, oldDir int, name string) (bool, error) {
	names, err := fsat.ListXattr(newDir, name)
	if err != nil {
		return false, err
	}
	old, err := fsat.ListXattr(oldDir, name)
	if err != nil {
		return false, err
	}
	slices.Sort(names)
	slices.Sort(old)
	if !slices.Equal(names, old) {
		return true, nil
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

// contentDiffers compares two files of one size.
func (e exact) contentDiffers(newDir, oldDir int, name string) (bool, error) {
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
	left, right := make([]byte, portion), make([]byte, portion)
	for {
		if err := e.ctx.Err(); err != nil {
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
