package layertar

import (
	"errors"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// below is the merged tree of the layers below. It is opened when it is needed first: most
// tars name every directory and need it never.
type below struct {
	open     func() (*os.File, error)
	root     *os.File
	resolver *fsat.Resolver
}

// isMissing reports whether the error of a lookup says that there is nothing.
func isMissing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// find returns the directory of a path, for further lookups, and the attributes of what has
// the name. exists is false when there is nothing, or when nothing is known.
func (b *below) find(path string) (dirfd int, st unix.Stat_t, exists bool, err error) {
	if b.open == nil {
		return -1, st, false, nil
	}
	if b.resolver == nil {
		if b.root, err = b.open(); err != nil {
			return -1, st, false, err
		}
		b.resolver = fsat.NewResolver(int(b.root.Fd()))
	}
	dir, name := split(path)
	dirfd, err = b.resolver.Dir(dir, nil)
	if err == nil {
		st, err = fsat.Stat(dirfd, name)
	}
	if isMissing(err) {
		return -1, st, false, nil
	}
	return dirfd, st, err == nil && !overlayfs.IsWhiteout(st.Mode, st.Rdev), err
}

// findDir returns the attributes of a directory, or of the one that a symlink leads to.
func (b *below) findDir(path string) (a attributes, found bool, err error) {
	dirfd, err := b.resolver.Dir(path, nil)
	if isMissing(err) {
		return a, false, nil
	}
	if err != nil {
		return a, false, err
	}
	st, err := fsat.StatFD(dirfd)
	if err != nil {
		return a, false, err
	}
	a, err = readAttributes(dirfd, ".", st)
	return a, err == nil, err
}

func (b *below) close() {
	if b.resolver != nil {
		b.resolver.Forget()
	}
}

// readAttributes returns the attributes of a file of a layer below.
func readAttributes(dirfd int, name string, st unix.Stat_t) (attributes, error) {
	a := attributes{
		uid: int(st.Uid), gid: int(st.Gid), mode: st.Mode & 0o7777,
		atime: time.Unix(st.Atim.Unix()), mtime: time.Unix(st.Mtim.Unix()),
	}
	names, err := fsat.ListXattr(dirfd, name)
	if err != nil {
		return a, err
	}
	for _, attr := range names {
		if strings.HasPrefix(attr, trustedPrefix) {
			continue
		}
		value, err := fsat.GetXattr(dirfd, name, attr)
		if err != nil {
			return a, err
		}
		a.xattrs = append(a.xattrs, xattr{attr, value})
	}
	return a, nil
}

// impliedAttributes returns the attributes of a directory that the tar does not name: those
// of the directory below, or else the ones that the others give it.
func (x *extractor) impliedAttributes(parent int, name string) (attributes, error) {
	dirfd, st, exists, err := x.below.find(name)
	if err == nil && !exists {
		return x.newDirAttributes(parent)
	}
	if err != nil {
		return attributes{}, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := fsat.Readlink(dirfd, path.Base(name))
		if err != nil {
			return attributes{}, err
		}
		x.warn(name, "is a directory that hides a symlink of a layer below, to "+quote(target))
	}
	a, found, err := x.below.findDir(name)
	if err == nil && !found {
		return x.newDirAttributes(parent)
	}
	if err == nil {
		x.reportUnlogged(name, a)
	}
	return a, err
}

// newDirAttributes are the attributes of a directory that no layer describes: mkdir(2)'s, with
// the group of a parent that has the set-group-ID bit.
func (x *extractor) newDirAttributes(parent int) (attributes, error) {
	a := x.defaultAttributes()
	st, err := fsat.StatFD(parent)
	if err == nil && st.Mode&unix.S_ISGID != 0 {
		a.gid = int(st.Gid)
	}
	return a, err
}

// defaultAttributes are those of a directory that no layer describes. Its times are the
// time of the extraction.
func (x *extractor) defaultAttributes() attributes {
	uid, gid := x.IDs.RootPair()
	if os.Geteuid() != 0 && x.IDs.Empty() {
		uid, gid = os.Geteuid(), os.Getegid() // only root may give files away
	}
	return attributes{uid: uid, gid: gid, mode: impliedDirMode}
}

// copyBelow makes, for a hard link to a file that only a layer below has, a copy of that
// file. Overlayfs cannot link across layers, and breaks such links itself when it copies up.
// It reports whether the file was there.
func (x *extractor) copyBelow(p location, linked string, want attributes) (copied bool, err error) {
	dirfd, st, exists, err := x.below.find(linked)
	if err != nil || !exists {
		return false, err
	}
	name := path.Base(linked)
	a, err := readAttributes(dirfd, name, st)
	if err != nil {
		return false, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = x.copyRegular(dirfd, name, p)
	case unix.S_IFLNK:
		var target string
		if target, err = fsat.Readlink(dirfd, name); err == nil {
			x.size += int64(len(target))
			err = x.createOrReplace(p, func() error { return fsat.Symlink(target, p.dirfd, p.name) })
		}
	case unix.S_IFDIR:
		err = fault.New(fault.UnsafeInput, "it is a directory")
	default:
		err = x.createOrReplace(p, func() error { return fsat.Mknod(p.dirfd, p.name, st.Mode, st.Rdev) })
	}
	if err == nil {
		x.reportUnlogged(p.path, a)
		x.warn(p.path, "is a copy of a file of a layer below, "+quote(linked)+", and not a link")
		if err = a.apply(file{p, -1}); err == nil {
			want, err = want.withCapabilities(p)
		}
		err = errors.Join(err, want.apply(file{p, -1}))
	}
	return err == nil, err
}

// copyRegular copies the content of a file of a layer below.
func (x *extractor) copyRegular(dirfd int, name string, p location) error {
	from, err := fsat.OpenFile(dirfd, name)
	if err != nil {
		return err
	}
	defer fsat.CloseQuietly(from)
	st, err := fsat.StatFD(from)
	if err != nil {
		return err
	}
	to := -1
	err = x.createOrReplace(p, func() (err error) {
		to, err = fsat.CreateFile(p.dirfd, p.name, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	x.size += st.Size
	if err = x.copyContent(from, to, st.Size); err == nil {
		err = fsat.Truncate(to, st.Size)
	}
	if closed := fsat.Close(to); err == nil {
		err = closed
	}
	return err
}

func (x *extractor) copyContent(from, to int, size int64) error {
	for off := int64(0); off < size; off += chunkSize {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		c := newChunk(min(chunkSize, size-off))
		err := readAll(from, c.data, off)
		if err == nil {
			_, err = writeData(to, c.data, off)
		}
		c.free()
		if err != nil {
			return err
		}
	}
	return nil
}
