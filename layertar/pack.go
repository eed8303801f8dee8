package layertar

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"os"
	"runtime"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Pack writes the overlay upper directory dir to w as a layer tar: sorted,
// without the root's own entry, whiteouts and opaque directories in the tar's
// form. A file may change meanwhile: what it gained is left out, what it lost
// is an error, for then the tar would be wrong.
func Pack(ctx context.Context, dir *os.File, w io.Writer, o Options) error {
	defer runtime.KeepAlive(dir)
	return packing(ctx, w, o, func(p *packer) error {
		p.overlay = true
		return p.tree(int(dir.Fd()))
	})
}

// packer is one packing under way. To look at a file needs nothing of it that
// changes, to write it has to be in order.
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

// file packs what is not a directory.
func (p *packer) file(dirfd int, path, name string, typ uint8) error {
	i := p.look(dirfd, path, name, typ)
	return p.write(&i)
}

// directory packs a directory that is open, without what is in it.
func (p *packer) directory(path, name string, fd int) error {
	i := p.lookAtDir(path, name, fd)
	return p.write(&i)
}

// write writes what was looked at, and lets go of it.
func (p *packer) write(i *item) error {
	defer i.release()
	if i.hdr == nil || i.err != nil {
		return i.err
	}
	linked := !i.whiteout && p.linkToFirst(i.hdr, i.path, i.st)
	if err := p.tw.WriteHeader(i.hdr); err != nil {
		return err
	}
	switch {
	case i.opaque:
		return p.tw.WriteHeader(opaqueHeader(i.hdr))
	case linked:
		return nil
	case i.fd >= 0:
		return p.content(i.fd, i.hdr.Size)
	}
	_, err := p.tw.Write(i.content.data)
	return err
}

// content copies size bytes of the file into the tar.
func (p *packer) content(fd int, size int64) error {
	for off := int64(0); off < size; {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		buf := p.buf[:min(bufferSize, size-off)]
		if err := readAll(fd, buf, off); err != nil {
			return err
		}
		if _, err := p.tw.Write(buf); err != nil {
			return err
		}
		off += int64(len(buf))
	}
	return nil
}
