package layertar

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// readChunk reads the next n bytes of the entry's content.
func (x *extractor) readChunk(n int64) (chunk, error) {
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

// createRegular reads a regular file's content and submits its creation to the writer.
func (x *extractor) createRegular(p location, size int64, want attributes) error {
	x.size += size
	if size > chunkSize {
		return x.createLarge(p, size, want)
	}
	c, err := x.readChunk(size)
	if err != nil {
		return err
	}
	dir, _ := split(p.path)
	ref, err := x.jobDirs.acquire(dir, p.dirfd)
	if err != nil {
		c.free()
		return err
	}
	x.order.addPending(p.path)
	p.dirfd = ref.fd
	x.writer.submit(&smallFile{location: p, dir: ref, content: c, want: want})
	return nil
}

// smallFile is a job: the creation of a file that fits one chunk.
type smallFile struct {
	location
	dir     *dirRef
	content chunk
	want    attributes
}

func (f *smallFile) run(w *fileWriter) {
	if w.failed.Load() {
		f.release()
		return
	}
	err := f.create()
	if errors.Is(err, os.ErrExist) {
		w.addConflict(f)
		return
	}
	f.release()
	if err != nil {
		w.fail(f.path, err)
	}
}

// release gives back the buffer and the directory.
func (f *smallFile) release() {
	f.content.free()
	f.dir.release()
}

// create creates the file. It returns os.ErrExist only when the name is taken, and has
// changed nothing then.
func (f *smallFile) create() error {
	fd, err := fsat.CreateFile(f.dirfd, f.name, f.want.mode)
	if err != nil {
		return err
	}
	end, err := writeData(fd, f.content.data, 0)
	if err != nil {
		err = hideExist(err)
	}
	return finishFile(file{f.location, fd}, end, int64(len(f.content.data)), f.want, err)
}

// hideExist replaces an os.ErrExist of a later step, which would read as "the name is
// taken".
func hideExist(err error) error {
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Invalid, "%v", err)
	}
	return err
}

// finishFile sets size and attributes of a file that is written up to end. It closes the
// file, also after an error.
func finishFile(f file, end, size int64, want attributes, err error) error {
	if err == nil && end < size {
		err = fsat.Truncate(f.fd, size)
	}
	if err == nil {
		err = hideExist(want.apply(f))
	}
	if closed := fsat.Close(f.fd); err == nil {
		err = closed
	}
	return err
}

// largeFile is a file that several workers write.
type largeFile struct {
	file
	dir  *dirRef
	size int64
	want attributes
	left atomic.Int64 // chunks that are not written yet
	end  atomic.Int64 // end of the last data written: holes do not count
	cut  atomic.Bool  // reading failed: some chunks will never come
}

// createLarge creates a file and submits each chunk of its content to the writer.
func (x *extractor) createLarge(p location, size int64, want attributes) error {
	fd := -1
	err := x.createOrReplace(p, func() (err error) {
		fd, err = fsat.CreateFile(p.dirfd, p.name, want.mode)
		return err
	})
	if err != nil {
		return err
	}
	dir, _ := split(p.path)
	ref, err := x.jobDirs.acquire(dir, p.dirfd)
	if err != nil {
		fsat.CloseQuietly(fd)
		return err
	}
	x.order.addPending(p.path)
	p.dirfd = ref.fd
	f := &largeFile{file: file{p, fd}, dir: ref, size: size, want: want}
	total := (size + chunkSize - 1) / chunkSize
	f.left.Store(total)
	for n := range total {
		if x.writer.failed.Load() { // waitPending returns the error
			f.abandon(total - n)
			return nil
		}
		c, err := x.readChunk(min(chunkSize, size-n*chunkSize))
		if err != nil {
			f.abandon(total - n)
			return err
		}
		x.writer.submit(part{f, c, n * chunkSize})
	}
	return nil
}

// abandon takes back n chunks that will never come.
func (f *largeFile) abandon(n int64) {
	f.cut.Store(true)
	if f.left.Add(-n) == 0 {
		f.close()
	}
}

// close closes a file that stays incomplete.
func (f *largeFile) close() {
	fsat.CloseQuietly(f.fd)
	f.dir.release()
}

// part is a job: the writing of one chunk of a large file.
type part struct {
	*largeFile
	content chunk
	off     int64
}

func (p part) run(w *fileWriter) {
	defer p.content.free()
	if !w.failed.Load() {
		p.write(w)
	}
	if p.left.Add(-1) > 0 {
		return
	}
	if w.failed.Load() || p.cut.Load() {
		p.close()
		return
	}
	defer p.dir.release()
	if err := finishFile(p.file, p.end.Load(), p.size, p.want, nil); err != nil {
		w.fail(p.path, err)
	}
}

func (p part) write(w *fileWriter) {
	end, err := writeData(p.fd, p.content.data, p.off)
	if err != nil {
		w.fail(p.path, err)
		return
	}
	for old := p.end.Load(); old < end && !p.end.CompareAndSwap(old, end); {
		old = p.end.Load()
	}
}
