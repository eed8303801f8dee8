package layertar

import (
	"archive/tar"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// item is an inspected file: everything that its entry needs. A file without a header gets
// no entry.
type item struct {
	path     string
	hdr      *tar.Header
	st       unix.Stat_t
	whiteout bool
	opaque   bool  // the file is an opaque directory
	content  chunk // the content of a small file
	fd       int   // a larger file, open; or -1
	err      error
}

// release gives back the item's buffer and descriptor.
func (i *item) release() {
	if i.content.free != nil {
		i.content.free()
	}
	if i.fd >= 0 {
		fsat.CloseQuietly(i.fd)
	}
}

// errChanged is returned when a name gets another type during the packing.
var errChanged = fault.New(fault.Busy, "the file was replaced by another kind of file while it was packed")

// errVanished is returned when a file goes away before its header is written. Such a file
// is left out, as if it had gone before the packing began.
var errVanished = errors.New("vanished")

// markVanished turns ENOENT into errVanished, and errors of names that have another type by
// now into errChanged: a regular file that is opened can be a link, a whiteout or a socket.
func markVanished(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return errVanished
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return errChanged
	}
	return err
}

// inspect inspects anything but a directory.
func (p *packer) inspect(dirfd int, path, name string, typ uint8) item {
	i := item{path: path, fd: -1}
	if typ == unix.DT_SOCK {
		return i // a tar cannot hold a socket, which is dead without its process anyway
	}
	if i.err = whiteout.CheckName(name); i.err != nil {
		return i
	}
	if typ == unix.DT_REG {
		i.err = p.inspectRegular(&i, dirfd, name)
	} else {
		i.err = p.inspectSpecial(&i, dirfd, name)
	}
	if errors.Is(i.err, errVanished) {
		i.hdr, i.err = nil, nil
	}
	return i
}

// inspectDir inspects an open directory.
func (p *packer) inspectDir(path, name string, fd int) item {
	i := item{path: path, fd: -1}
	if i.err = whiteout.CheckName(name); i.err != nil {
		return i
	}
	if i.st, i.err = fsat.StatFD(fd); i.err != nil {
		return i
	}
	i.st.Nlink = 1 // a directory's link count says nothing about hard links
	if i.hdr, i.err = p.newHeader(path+"/", i.st); i.err != nil {
		return i
	}
	i.opaque, i.err = p.addXattrs(i.hdr, fd)
	return i
}

// inspectRegular opens a file before it asks for its attributes, so that header and
// content belong to one file. It reads a small file at once.
func (p *packer) inspectRegular(i *item, dirfd int, name string) (err error) {
	if i.fd, err = fsat.OpenFile(dirfd, name); err != nil {
		i.fd = -1
		return markVanished(err)
	}
	if i.st, err = fsat.StatFD(i.fd); err != nil {
		return err
	}
	if i.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errChanged
	}
	if i.hdr, err = p.newHeader(i.path, i.st); err != nil {
		return err
	}
	if _, err := p.addXattrs(i.hdr, i.fd); err != nil {
		return err
	}
	if i.st.Size > chunkSize || i.st.Nlink > 1 {
		return nil
	}
	i.content = newChunk(i.st.Size)
	if err := readAll(i.fd, i.content.data, 0); err != nil {
		return err
	}
	fd := i.fd
	i.fd = -1
	return fsat.Close(fd)
}

// inspectSpecial inspects a file without content: a symlink, device, fifo or whiteout.
func (p *packer) inspectSpecial(i *item, dirfd int, name string) (err error) {
	if i.st, err = fsat.Stat(dirfd, name); err != nil {
		return markVanished(err)
	}
	if overlayfs.IsWhiteout(i.st.Mode, i.st.Rdev) {
		i.whiteout = true
		i.hdr = p.whiteoutHeader(i.path, i.st)
		return nil
	}
	if typ := i.st.Mode & unix.S_IFMT; typ == unix.S_IFREG || typ == unix.S_IFDIR {
		return errChanged // it has content, which nobody has looked for
	}
	if i.hdr, err = p.newHeader(i.path, i.st); err != nil {
		return err
	}
	if i.hdr.Typeflag == tar.TypeSymlink {
		i.hdr.Linkname, err = fsat.Readlink(dirfd, name)
	}
	if errors.Is(err, unix.EINVAL) { // it is no link any more
		return errChanged
	}
	return markVanished(err)
}

// readAll fills buf from the file. A file that became shorter is an error.
func readAll(fd int, buf []byte, off int64) error {
	err := fsat.ReadAt(fd, buf, off)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Busy, "the file shrank while it was packed: %w", err)
	}
	return err
}
