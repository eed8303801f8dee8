package layertar

import (
	"archive/tar"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// attributes are everything of a file except its content.
type attributes struct {
	uid, gid     int
	mode         uint32 // the twelve bits
	atime, mtime time.Time
	xattrs       []xattr
	opaque       bool // overlayfs's own mark, which the tar brings
}

// maxQueuedAttributes bounds the extended attributes of a file that waits for a worker.
const maxQueuedAttributes = 64 << 10

// isHeavy reports whether a file's attributes take too much memory to wait for a worker.
func (a attributes) isHeavy() bool {
	const each = 64 // what one takes besides its name and value
	size := 0
	for _, attr := range a.xattrs {
		size += each + len(attr.name) + len(attr.value)
	}
	return size > maxQueuedAttributes
}

// parseAttributes checks and converts the attributes in an entry's header.
func (x *extractor) parseAttributes(hdr *tar.Header) (attributes, error) {
	uid, gid, err := x.toHost(hdr.Uid, hdr.Gid)
	if err != nil {
		return attributes{}, err
	}
	xattrs, trusted, err := parseXattrs(hdr.PAXRecords)
	if err != nil {
		return attributes{}, err
	}
	a := attributes{uid: uid, gid: gid, mode: uint32(hdr.Mode & 0o7777), atime: hdr.AccessTime, mtime: hdr.ModTime, xattrs: xattrs}
	if a.atime.Before(a.mtime) {
		a.atime = a.mtime // missing in the tar, or nonsense
	}
	a.atime, a.mtime = boundTime(a.atime), boundTime(a.mtime)
	for _, attr := range trusted {
		if attr.name == overlayfs.OpaqueXattr && overlayfs.IsOpaque(attr.value) {
			a.opaque = true
			continue
		}
		x.warn(hdr.Name, "attribute "+quote(attr.name)+" is left out: those of trusted.* belong to the host")
	}
	x.reportUnlogged(hdr.Name, a)
	return a, nil
}

// reportUnlogged tells about an entry with an attribute that has an empty value.
func (x *extractor) reportUnlogged(entry string, a attributes) {
	if x.Unlogged != nil && slices.ContainsFunc(a.xattrs, func(attr xattr) bool { return len(attr.value) == 0 }) {
		x.Unlogged(entry)
	}
}

// The bounds of a file's times, as containerd has them: 64 bits of nanoseconds since 1970.
var (
	minTime = time.Unix(0, 0)
	maxTime = time.Unix(0, 1<<63-1)
)

// boundTime returns t, or the epoch for a time that is out of bounds.
func boundTime(t time.Time) time.Time {
	if t.Before(minTime) || t.After(maxTime) {
		return minTime
	}
	return t
}

// file is the target of attributes: open as fd, or, when fd is -1, by its name.
type file struct {
	location
	fd int
}

func (f file) stat() (unix.Stat_t, error) {
	if f.fd >= 0 {
		return fsat.StatFD(f.fd)
	}
	return fsat.Stat(f.dirfd, f.name)
}

func (f file) chmod(mode uint32) error {
	if f.fd >= 0 {
		return fsat.ChmodFD(f.fd, mode)
	}
	return fsat.Chmod(f.dirfd, f.name, mode)
}

func (f file) setXattr(a xattr) error {
	if f.fd >= 0 {
		return fsat.SetXattrFD(f.fd, a.name, a.value)
	}
	return fsat.SetXattr(f.dirfd, f.name, a.name, a.value)
}

// apply sets all attributes of the file, its times last.
func (a attributes) apply(f file) error {
	if err := a.applyExceptTimes(f); err != nil {
		return err
	}
	return fsat.SetTimes(f.dirfd, f.name, a.atime, a.mtime)
}

// applyExceptTimes changes what differs, in the one order that works: chown clears set-ID
// bits and capabilities, and an ACL brings permission bits, which the mode overrules. Most
// files belong to root and have an ordinary mode: they need neither call, and each would be
// a transaction.
func (a attributes) applyExceptTimes(f file) error {
	st, err := f.stat()
	if err != nil {
		return err
	}
	chowned := a.uid != unchanged && a.uid != int(st.Uid) || a.gid != unchanged && a.gid != int(st.Gid)
	if chowned {
		if err := fsat.Chown(f.dirfd, f.name, a.uid, a.gid); err != nil {
			return err
		}
	}
	if err := a.setXattrs(f); err != nil {
		return err
	}
	return a.chmod(f, st, chowned)
}

func (a attributes) chmod(f file, st unix.Stat_t, chowned bool) error {
	const setID = unix.S_ISUID | unix.S_ISGID
	lost := chowned && a.mode&setID != 0 || slices.ContainsFunc(a.xattrs, xattr.isACL)
	if st.Mode&unix.S_IFMT == unix.S_IFLNK || a.mode == st.Mode&0o7777 && !lost {
		return nil
	}
	return f.chmod(a.mode)
}

func (a attributes) setXattrs(f file) error {
	for _, attr := range a.xattrs {
		if err := attr.tolerate(f.setXattr(attr)); err != nil {
			return err
		}
	}
	return nil
}

// setDirTimes sets the times of all directories.
func (x *extractor) setDirTimes() error {
	return x.dirs.each(func(d dirTimes) error {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		return wrapEntry(d.path, x.setDirTime(d))
	})
}

func (x *extractor) setDirTime(d dirTimes) error {
	dir, name := split(d.path)
	if x.stale {
		x.dropDirs()
		x.stale = false
	}
	dirfd, err := x.parents.Dir(dir, nil)
	if err == nil && x.mustRecount && !isDir(dirfd, name) {
		return nil // a later entry replaced it
	}
	if err == nil {
		err = fsat.SetTimes(dirfd, name, d.atime, d.mtime)
	}
	if x.mustRecount && (errors.Is(err, unix.ENOENT) || pathErrnos[unwrapErrno(err)]) {
		return nil // or one of its parents, by a file or a symlink to anywhere
	}
	return err
}

func isDir(dirfd int, name string) bool {
	st, err := fsat.Stat(dirfd, name)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// classOrUnsafe returns err's class, or UnsafeInput when it has none: then the layer
// itself is the cause.
func classOrUnsafe(err error) fault.Class {
	if c := fault.ClassOf(fault.Classify(err)); c != "" {
		return c
	}
	return fault.UnsafeInput
}
