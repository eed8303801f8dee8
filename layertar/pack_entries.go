package layertar

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// Entry is a path that differs between two trees.
type Entry struct {
	Path    string // relative to the root, with slashes, none of them first
	Deleted bool
}

// PackEntries writes the listed entries of the tree at dir, which is any
// merged tree, to w as a layer tar: each by itself, a directory without what
// is in it, a deleted one as a whiteout. They are written by path; of several
// names of one file the first one listed is the file, the others link to it.
func PackEntries(ctx context.Context, dir *os.File, entries []Entry, w io.Writer, o Options) error {
	defer runtime.KeepAlive(dir)
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return packing(ctx, w, o, func(p *packer) error {
		r := fsat.NewStrictResolver(int(dir.Fd()))
		defer r.Forget()
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := p.listed(r, e); err != nil {
				return inEntry(e.Path, err)
			}
		}
		return nil
	})
}

// listed packs one listed entry.
func (p *packer) listed(r *fsat.Resolver, e Entry) error {
	if err := checkListed(e.Path); err != nil {
		return err
	}
	if e.Deleted {
		return p.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: whiteoutPath(e.Path)})
	}
	dir, name := split(e.Path)
	dirfd, err := r.Dir(dir, nil)
	if err != nil {
		return ignoreVanished(err)
	}
	st, err := fsat.Stat(dirfd, name)
	if err != nil {
		return ignoreVanished(err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return p.listedDir(dirfd, e.Path, name)
	}
	return p.file(dirfd, e.Path, name, uint8(st.Mode&unix.S_IFMT>>12))
}

func (p *packer) listedDir(dirfd int, path, name string) error {
	fd, err := fsat.OpenDir(dirfd, name)
	if err != nil {
		return ignoreVanished(err)
	}
	err = p.directory(path, name, fd)
	if closed := fsat.Close(fd); err == nil {
		err = closed
	}
	return err
}

// checkListed refuses a path that is not as Entry says, or that would read as
// a whiteout.
func checkListed(path string) error {
	clean, err := cleanPath(path)
	if err != nil {
		return err
	}
	if clean != path || path == "." {
		return fault.New(fault.Invalid, "not a clean path below the root")
	}
	for part := range strings.SplitSeq(path, "/") {
		if err := whiteout.CheckName(part); err != nil {
			return err
		}
	}
	return nil
}

func ignoreVanished(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
