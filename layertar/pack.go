package layertar

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"os"
	"runtime"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// Pack writes the overlay upper directory dir to w as a layer tar: sorted, without an
// entry for the root, with whiteouts and opaque directories in the tar's form. A file
// that grows meanwhile is packed at its old size. A file that shrinks is an error,
// because its header is out already.
func Pack(ctx context.Context, dir *os.File, w io.Writer, o Options) error {
	defer runtime.KeepAlive(dir)
	return runPack(ctx, w, o, func(p *packer) error {
		p.overlay = true
		return p.packTree(int(dir.Fd()))
	})
}

// packer is one packing under way. Inspecting a file uses nothing in it that changes, so
// workers may do it at the same time. Writing happens in order.
type packer struct {
	Options
	ctx     context.Context
	tw      *tar.Writer
	buf     *[bufferSize]byte
	overlay bool                  // the tree is an upper directory: overlayfs's marks count
	seen    map[fsat.Inode]string // the first name of each file with several names
}

// runPack runs fill and ends the archive, if and only if fill succeeds.
func runPack(ctx context.Context, w io.Writer, o Options, fill func(*packer) error) error {
	out := bufio.NewWriterSize(w, headerBuffer)
	p := &packer{
		Options: o,
		ctx:     ctx,
		tw:      tar.NewWriter(out),
		buf:     buffers.Get().(*[bufferSize]byte),
		seen:    make(map[fsat.Inode]string),
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

// packFile packs anything but a directory.
func (p *packer) packFile(dirfd int, path, name string, typ uint8) error {
	i := p.inspect(dirfd, path, name, typ)
	return p.writeItem(&i)
}

// packDir packs an open directory without its content.
func (p *packer) packDir(path, name string, fd int) error {
	i := p.inspectDir(path, name, fd)
	return p.writeItem(&i)
}

// writeItem writes an inspected file to the tar and releases it.
func (p *packer) writeItem(i *item) error {
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
		return p.copyContent(i.fd, i.hdr.Size)
	}
	_, err := p.tw.Write(i.content.data)
	return err
}

// copyContent copies size bytes of the file into the tar.
func (p *packer) copyContent(fd int, size int64) error {
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
