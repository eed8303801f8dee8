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

// item is a file that was looked at: all that its entry needs. Without a header
// it makes none.
type item struct {
	path     string
	hdr      *tar.Header
	st       unix.Stat_t
	whiteout bool
	opaque   bool  // a directory that is
	content  chunk // of a small file
	fd       int   // of another one, open; or -1
	err      error
}

// release lets go of what the item holds.
func (i *item) release() {
	if i.content.free != nil {
		i.content.free()
	}
	if i.fd >= 0 {
		fsat.CloseQuietly(i.fd)
	}
}

// errChanged is of a name that changed its type meanwhile.
var errChanged = fault.New(fault.Busy, "the file was replaced by another kind of file while it was packed")

// errVanished is of a file that went away before its header was written: it
// is as if it had gone before the packing began.
var errVanished = errors.New("vanished")

// orVanished marks ENOENT as no failure.
func orVanished(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return errVanished
	}
	return err
}

// look looks at what is not a directory.
func (p *packer) look(dirfd int, path, name string, typ uint8) item {
	i := item{path: path, fd: -1}
	if typ == unix.DT_SOCK {
		return i // a tar cannot hold it, and it is dead without its process
	}
	if i.err = whiteout.CheckName(name); i.err != nil {
		return i
	}
	if typ == unix.DT_REG {
		i.err = p.lookAtRegular(&i, dirfd, name)
	} else {
		i.err = p.lookAtSpecial(&i, dirfd, name)
	}
	if errors.Is(i.err, errVanished) {
		i.hdr, i.err = nil, nil
	}
	return i
}

// lookAtDir looks at a directory that is open.
func (p *packer) lookAtDir(path, name string, fd int) item {
	i := item{path: path, fd: -1}
	if i.err = whiteout.CheckName(name); i.err != nil {
		return i
	}
	if i.st, i.err = fsat.StatFD(fd); i.err != nil {
		return i
	}
	i.st.Nlink = 1 // its names below itself are no hard links
	if i.hdr, i.err = p.header(path+"/", i.st); i.err != nil {
		return i
	}
	i.opaque, i.err = p.addXattrs(i.hdr, fd)
	return i
}

// lookAtRegular opens a file before it looks, so that header and content are of
// one file. A small one is read at once.
func (p *packer) lookAtRegular(i *item, dirfd int, name string) (err error) {
	if i.fd, err = fsat.OpenFile(dirfd, name); err != nil {
		i.fd = -1
		return orVanished(err)
	}
	if i.st, err = fsat.StatFD(i.fd); err != nil {
		return err
	}
	if i.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errChanged
	}
	if i.hdr, err = p.header(i.path, i.st); err != nil {
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

// lookAtSpecial looks at what has no content: symlinks, devices, fifos,
// whiteouts.
func (p *packer) lookAtSpecial(i *item, dirfd int, name string) (err error) {
	if i.st, err = fsat.Stat(dirfd, name); err != nil {
		return orVanished(err)
	}
	if overlayfs.IsWhiteout(i.st.Mode, i.st.Rdev) {
		i.whiteout = true
		i.hdr = p.whiteoutHeader(i.path, i.st)
		return nil
	}
	if i.hdr, err = p.header(i.path, i.st); err != nil {
		return err
	}
	if i.hdr.Typeflag == tar.TypeSymlink {
		i.hdr.Linkname, err = fsat.Readlink(dirfd, name)
	}
	return orVanished(err)
}

// readAll fills buf from the file, which must not have become shorter.
func readAll(fd int, buf []byte, off int64) error {
	err := fsat.ReadAt(fd, buf, off)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Busy, "the file shrank while it was packed: %w", err)
	}
	return err
}
