package layertar

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// Pack writes the overlay upper directory dir to w as a layer tar: sorted,
// without the root's own entry, whiteouts and opaque directories in the tar's
// form. A file may change meanwhile: what it gained is left out, what it lost
// is an error, for then the tar would be wrong.
func Pack(ctx context.Context, dir *os.File, w io.Writer, o Options) error {
	defer runtime.KeepAlive(dir)
	return packing(ctx, w, o, func(p *packer) error {
		p.overlay = true
		return fsat.Walk(ctx, int(dir.Fd()), true, p)
	})
}

// packer is one packing under way. As a visitor it packs what it is shown.
type packer struct {
	Options
	ctx     context.Context
	tw      *tar.Writer
	buf     *[bufferSize]byte
	overlay bool             // the tree is an upper: look for overlayfs's marks
	seen    map[inode]string // the first name of each file with several
}

// packing runs fill and ends the archive, if and only if all went well.
func packing(ctx context.Context, w io.Writer, o Options, fill func(*packer) error) error {
	out := bufio.NewWriterSize(w, headerBuffer)
	p := &packer{
		Options: o,
		ctx:     ctx,
		tw:      tar.NewWriter(out),
		buf:     buffers.Get().(*[bufferSize]byte),
		seen:    make(map[inode]string),
	}
	defer buffers.Put(p.buf)
	err := fill(p)
	if err == nil {
		err = p.tw.Close()
	}
	if err == nil {
		err = out.Flush()
	}
	return fault.Classify(err)
}

// Enter packs a directory.
func (p *packer) Enter(_ int, path fsat.Path, fd int) error {
	return inEntry(path.String(), p.directory(path.String(), path.Name, fd))
}

// File packs anything else.
func (p *packer) File(parent int, path fsat.Path, typ uint8) error {
	return inEntry(path.String(), p.file(parent, path.String(), path.Name, typ))
}

// Leave has nothing to do: directories come before what is in them.
func (p *packer) Leave(int, fsat.Path) error { return nil }

func (p *packer) directory(path, name string, fd int) error {
	if err := whiteout.CheckName(name); err != nil {
		return err
	}
	st, err := fsat.StatFD(fd)
	if err != nil {
		return err
	}
	hdr, err := p.header(path+"/", st)
	if err != nil {
		return err
	}
	opaque, err := p.addXattrs(hdr, fd)
	if err != nil {
		return err
	}
	if err := p.tw.WriteHeader(hdr); err != nil || !opaque {
		return err
	}
	return p.tw.WriteHeader(opaqueHeader(hdr))
}

// errVanished is of a file that went away before its header was written: it
// is as if it had gone before the packing began.
var errVanished = errors.New("vanished")

func (p *packer) file(dirfd int, path, name string, typ uint8) error {
	if typ == unix.DT_SOCK {
		return nil // a tar cannot hold it, and it is dead without its process
	}
	if err := whiteout.CheckName(name); err != nil {
		return err
	}
	var err error
	if typ == unix.DT_REG {
		err = p.regular(dirfd, path, name)
	} else {
		err = p.special(dirfd, path, name)
	}
	if errors.Is(err, errVanished) {
		return nil
	}
	return err
}

// orVanished marks ENOENT as no failure.
func orVanished(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return errVanished
	}
	return err
}

// regular packs a regular file, which is opened before it is looked at, so
// that header and content are of one file.
func (p *packer) regular(dirfd int, path, name string) error {
	fd, err := fsat.OpenFile(dirfd, name)
	if err != nil {
		return orVanished(err)
	}
	err = p.open(fd, path)
	if closed := fsat.Close(fd); err == nil {
		err = closed
	}
	return err
}

func (p *packer) open(fd int, path string) error {
	st, err := fsat.StatFD(fd)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errChanged
	}
	hdr, err := p.header(path, st)
	if err != nil {
		return err
	}
	if _, err := p.addXattrs(hdr, fd); err != nil {
		return err
	}
	linked := p.linkToFirst(hdr, path, st)
	if err := p.tw.WriteHeader(hdr); err != nil || linked {
		return err
	}
	return p.content(fd, st.Size)
}

// errChanged is of a name that changed its type meanwhile.
var errChanged = fault.New(fault.Busy, "the file was replaced by another kind of file while it was packed")

// content copies size bytes of the file into the tar.
func (p *packer) content(fd int, size int64) error {
	for off := int64(0); off < size; {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		buf := p.buf[:min(bufferSize, size-off)]
		if err := fsat.ReadAt(fd, buf, off); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return fault.New(fault.Busy, "the file shrank while it was packed: %w", err)
			}
			return err
		}
		if _, err := p.tw.Write(buf); err != nil {
			return err
		}
		off += int64(len(buf))
	}
	return nil
}

// special packs what has no content: symlinks, devices, fifos, whiteouts.
func (p *packer) special(dirfd int, path, name string) error {
	st, err := fsat.Stat(dirfd, name)
	if err != nil {
		return orVanished(err)
	}
	if whiteout.IsDevice(st.Mode, st.Rdev) {
		return p.tw.WriteHeader(p.whiteoutHeader(path, st))
	}
	hdr, err := p.header(path, st)
	if err != nil {
		return err
	}
	if hdr.Typeflag == tar.TypeSymlink {
		if hdr.Linkname, err = fsat.Readlink(dirfd, name); err != nil {
			return orVanished(err)
		}
	}
	p.linkToFirst(hdr, path, st)
	return p.tw.WriteHeader(hdr)
}
