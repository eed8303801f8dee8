package layertar

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// read takes the next n bytes of the entry's content.
func (x *extractor) read(n int64) (chunk, error) {
	if err := x.ctx.Err(); err != nil {
		return chunk{}, err
	}
	c := newChunk(n)
	if _, err := io.ReadFull(x.tr, c.data); err != nil {
		c.free()
		return chunk{}, classifyRead(err)
	}
	return c, nil
}

// regular has a file made by the crew.
func (x *extractor) regular(p place, size int64, want attributes) error {
	x.size += size
	if size > chunkSize {
		return x.largeFile(p, size, want)
	}
	c, err := x.read(size)
	if err != nil {
		return err
	}
	dir, _ := split(p.path)
	held, err := x.held.in(dir, p.dirfd)
	if err != nil {
		c.free()
		return err
	}
	x.order.pend(p.path)
	p.dirfd = held.fd
	x.crew.give(&smallFile{place: p, dir: held, content: c, want: want})
	return nil
}

// smallFile is a file to be made as a whole.
type smallFile struct {
	place
	dir     *heldDir
	content chunk
	want    attributes
}

func (f *smallFile) do(c *crew) {
	if c.broken.Load() {
		f.done()
		return
	}
	err := f.make()
	if errors.Is(err, os.ErrExist) {
		c.conflict(f)
		return
	}
	f.done()
	if err != nil {
		c.fail(f.path, err)
	}
}

// done lets go of what the file needed.
func (f *smallFile) done() {
	f.content.free()
	f.dir.release()
}

// make makes the file. That something has its name is known before anything is
// done.
func (f *smallFile) make() error {
	fd, err := fsat.CreateFile(f.dirfd, f.name, f.want.mode)
	if err != nil {
		return err
	}
	end, err := writeData(fd, f.content.data, 0)
	if err != nil {
		err = ignoreExist(err)
	}
	return finish(file{f.place, fd}, end, int64(len(f.content.data)), f.want, err)
}

// ignoreExist keeps an error of a later step from passing for a name that is
// taken.
func ignoreExist(err error) error {
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Invalid, "%v", err)
	}
	return err
}

// finish gives a file that is written up to end its size and attributes, and
// closes it, also after an error.
func finish(f file, end, size int64, want attributes, err error) error {
	if err == nil && end < size {
		err = fsat.Truncate(f.fd, size)
	}
	if err == nil {
		err = ignoreExist(want.apply(f))
	}
	if closed := fsat.Close(f.fd); err == nil {
		err = closed
	}
	return err
}

// largeFile is a file that several hands write.
type largeFile struct {
	file
	dir  *heldDir
	size int64
	want attributes
	left atomic.Int64 // chunks that are not written
	end  atomic.Int64 // of what is written and no hole
	cut  atomic.Bool  // some will not come
}

// largeFile makes a file here and has its content written.
func (x *extractor) largeFile(p place, size int64, want attributes) error {
	fd := -1
	err := x.replacing(p, func() (err error) {
		fd, err = fsat.CreateFile(p.dirfd, p.name, want.mode)
		return err
	})
	if err != nil {
		return err
	}
	dir, _ := split(p.path)
	held, err := x.held.in(dir, p.dirfd)
	if err != nil {
		fsat.CloseQuietly(fd)
		return err
	}
	x.order.pend(p.path)
	p.dirfd = held.fd
	f := &largeFile{file: file{p, fd}, dir: held, size: size, want: want}
	total := (size + chunkSize - 1) / chunkSize
	f.left.Store(total)
	for n := range total {
		c, err := x.read(min(chunkSize, size-n*chunkSize))
		if err != nil {
			f.abandon(total - n)
			return err
		}
		x.crew.give(part{f, c, n * chunkSize})
	}
	return nil
}

// abandon takes back chunks that will not come.
func (f *largeFile) abandon(n int64) {
	f.cut.Store(true)
	if f.left.Add(-n) == 0 {
		f.close()
	}
}

// close lets go of a file that stays incomplete.
func (f *largeFile) close() {
	fsat.CloseQuietly(f.fd)
	f.dir.release()
}

// part is a chunk of a large file.
type part struct {
	*largeFile
	content chunk
	off     int64
}

func (p part) do(c *crew) {
	defer p.content.free()
	if !c.broken.Load() {
		p.write(c)
	}
	if p.left.Add(-1) > 0 {
		return
	}
	if c.broken.Load() || p.cut.Load() {
		p.close()
		return
	}
	defer p.dir.release()
	if err := finish(p.file, p.end.Load(), p.size, p.want, nil); err != nil {
		c.fail(p.path, err)
	}
}

func (p part) write(c *crew) {
	end, err := writeData(p.fd, p.content.data, p.off)
	if err != nil {
		c.fail(p.path, err)
		return
	}
	for old := p.end.Load(); old < end && !p.end.CompareAndSwap(old, end); {
		old = p.end.Load()
	}
}
