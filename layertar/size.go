package layertar

import (
	"context"
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// Size returns the apparent size of the tree: the lengths of everything except
// directories, hard links once.
func Size(ctx context.Context, dir *os.File) (int64, error) {
	defer runtime.KeepAlive(dir)
	s := sizer{seen: make(map[fsat.Inode]bool)}
	err := fsat.Walk(ctx, int(dir.Fd()), false, &s)
	return s.sum, fault.Classify(err)
}

type sizer struct {
	sum  int64
	seen map[fsat.Inode]bool
}

func (s *sizer) Enter(int, fsat.Path, int) error { return nil }
func (s *sizer) Leave(int, fsat.Path) error      { return nil }

func (s *sizer) File(parent int, path fsat.Path, _ uint8) error {
	st, err := fsat.Stat(parent, path.Name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return err
	}
	if st.Nlink > 1 {
		if s.seen[fsat.InodeOf(st)] {
			return nil
		}
		s.seen[fsat.InodeOf(st)] = true
	}
	s.sum += st.Size
	return nil
}
