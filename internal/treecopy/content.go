package treecopy

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// portion is how much is copied between two looks at the context. It is a
// multiple of every record size, so that no block is cut.
const portion = 256 << 20

// content copies a regular file's content: between two files io.Copy has the
// kernel do it, which shares blocks where it can. Holes stay holes.
func (c *copier) content(from, to int, base string, st unix.Stat_t) (err error) {
	in, err := fsat.OpenFile(from, base)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(in), base)
	defer source.Close()
	out, err := fsat.CreateFile(to, base, 0o600)
	if err != nil {
		return err
	}
	target := os.NewFile(uintptr(out), base)
	defer func() { err = errors.Join(err, target.Close()) }()
	if st.Blocks*512 >= st.Size {
		return c.copyRest(target, source)
	}
	return c.copyData(target, source, st.Size)
}

// copyRest copies a file from where it is read to its end.
func (c *copier) copyRest(target, source *os.File) error {
	for {
		n, err := io.CopyN(target, source, portion)
		c.Copied(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
}

// copyData copies the parts of a file that are no holes. On a file system without holes the
// whole file is one part.
func (c *copier) copyData(target, source *os.File, size int64) error {
	for at := int64(0); at < size; {
		start, err := source.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if err != nil {
			return err
		}
		end, err := source.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := c.copyPart(target, source, start, end); err != nil {
			return err
		}
		at = end
	}
	return target.Truncate(size)
}

func (c *copier) copyPart(target, source *os.File, start, end int64) error {
	if _, err := source.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := target.Seek(start, io.SeekStart); err != nil {
		return err
	}
	for start < end {
		n, err := io.CopyN(target, source, min(portion, end-start))
		c.Copied(n)
		if start += n; err != nil {
			return err
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
