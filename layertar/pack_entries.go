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
	Path    string // relative to the root, without a leading slash
	Deleted bool
}

// PackEntries writes the listed entries of the tree at dir, any merged tree, to w as a
// layer tar: a directory without its content, a deleted entry as a whiteout. Entries are
// written in the order of their paths. Of several names of one file the first is the
// file, and the others link to it.
func PackEntries(ctx context.Context, dir *os.File, entries []Entry, w io.Writer, o Options) error {
	defer runtime.KeepAlive(dir)
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return runPack(ctx, w, o, func(p *packer) error {
		r := fsat.NewStrictResolver(int(dir.Fd()))
		defer r.Forget()
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := p.packEntry(r, e); err != nil {
				return wrapEntry(e.Path, err)
			}
		}
		return nil
	})
}

// packEntry packs one listed entry.
func (p *packer) packEntry(r *fsat.Resolver, e Entry) error {
	if err := checkEntryPath(e.Path); err != nil {
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
		return p.packDirEntry(dirfd, e.Path, name)
	}
	return p.packFile(dirfd, e.Path, name, uint8(st.Mode&unix.S_IFMT>>12))
}

func (p *packer) packDirEntry(dirfd int, path, name string) error {
	fd, err := fsat.OpenDir(dirfd, name)
	if err != nil {
		return ignoreVanished(err)
	}
	err = p.packDir(path, name, fd)
	if closed := fsat.Close(fd); err == nil {
		err = closed
	}
	return err
}

// checkEntryPath refuses a path that is not clean, or that would read as a whiteout.
func checkEntryPath(path string) error {
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
