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
}

// Add adds a file, unless it was added under another name.
func (s *Sum) Add(st unix.Stat_t) {
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR {
		if file := fsat.InodeOf(st); s.linked[file] {
			return
		} else if st.Nlink > 1 {
			if s.linked == nil {
				s.linked = map[fsat.Inode]bool{}
			}
			s.linked[file] = true
		}
		s.Apparent += st.Size
	}
	if kind == unix.S_IFREG {
		s.Regular += st.Size
	}
	s.Inodes++
	s.Allocated += 512 * st.Blocks
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
