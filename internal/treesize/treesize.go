// Package treesize adds up the sizes of the files of a tree, hard links once.
package treesize

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// Sum is the size of the files that were added to it. The zero Sum is empty.
type Sum struct {
	Inodes    int64
	Allocated int64 // bytes on disk
	Apparent  int64 // the lengths of everything but directories
	Regular   int64 // the lengths of regular files

	linked map[fsat.Inode]bool // files with several names that are counted
	rests  map[uint64]*Sum     // of shares of files, by their number of names
}

// maxLinked bounds the memory of a Sum. Each name of a further file with several names adds its
// share of the file. Where all names are added, the Sum is exact.
const maxLinked = 64 << 10

// Add adds a file, unless it was added under another name.
func (s *Sum) Add(st unix.Stat_t) {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Nlink < 2 {
		s.addFile(st)
		return
	}
	file := fsat.InodeOf(st)
	switch {
	case s.linked[file]:
	case len(s.linked) < maxLinked:
		if s.linked == nil {
			s.linked = map[fsat.Inode]bool{}
		}
		s.linked[file] = true
		s.addFile(st)
	default:
		s.addShare(st)
	}
}

func (s *Sum) addFile(st unix.Stat_t) {
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR {
		s.Apparent += st.Size
	}
	if kind == unix.S_IFREG {
		s.Regular += st.Size
	}
	s.Inodes++
	s.Allocated += 512 * st.Blocks
}

// addShare adds the share of one name in a file with several names.
func (s *Sum) addShare(st unix.Stat_t) {
	names := uint64(st.Nlink) //nolint:unconvert // 32 bits on arm64
	rest := s.rests[names]
	if rest == nil {
		if s.rests == nil {
			s.rests = map[uint64]*Sum{}
		}
		rest = &Sum{}
		s.rests[names] = rest
	}
	rest.addFile(st)
	for _, p := range [...]struct{ sum, rest *int64 }{
		{&s.Inodes, &rest.Inodes}, {&s.Allocated, &rest.Allocated}, {&s.Apparent, &rest.Apparent}, {&s.Regular, &rest.Regular},
	} {
		*p.sum += *p.rest / int64(names)
		*p.rest %= int64(names)
	}
}

// Walk adds up the tree at the directory root, and root itself. Files that vanish meanwhile
// are not counted. Walk follows no symlink and fails at a mount.
func Walk(ctx context.Context, root int) (Sum, error) {
	var s Sum
	st, err := fsat.StatFD(root)
	if err != nil {
		return s, err
	}
	s.Add(st)
	err = fsat.Walk(ctx, root, false, &visitor{&s})
	return s, err
}

type visitor struct{ sum *Sum }

func (v *visitor) Enter(_ int, _ fsat.Path, fd int) error {
	st, err := fsat.StatFD(fd)
	if err == nil {
		v.sum.Add(st)
	}
	return err
}

func (v *visitor) Leave(int, fsat.Path) error { return nil }

func (v *visitor) File(parent int, path fsat.Path, _ uint8) error {
	st, err := fsat.Stat(parent, path.Name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		v.sum.Add(st)
	}
	return err
}
