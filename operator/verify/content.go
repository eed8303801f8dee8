package verify

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// checkContent compares a file's content with the record's checksum, unless the digest of
// the tar has proven it.
func (t *layerTree) checkContent(f *file, e treestack.Entry) error {
	if !t.entries.byChecksum || f.content.size == 0 {
		return nil
	}
	sum := dockerstore.NewChecksum()
	if err := t.readContent(e, sum); err != nil {
		return err
	}
	if sum.Sum64() != f.content.sum {
		return errors.New("has other content than recorded")
	}
	return nil
}

// readContent writes the content of a regular file.
func (t *layerTree) readContent(e treestack.Entry, w io.Writer) error {
	fd, err := fsat.OpenFile(e.Dir, e.Name)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), e.Name)
	defer f.Close()
	_, err = io.Copy(w, contextReader{t, f})
	return err
}

// contextReader fails once the caller's context is done.
type contextReader struct {
	t *layerTree
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.t.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// isSameFile reports whether two files do not differ in what a record tells of a file:
// type, mode, owner, device, target, capabilities and content.
func (t *layerTree) isSameFile(a, b treestack.Entry) (bool, error) {
	if a.Stat.Mode != b.Stat.Mode || a.Stat.Uid != b.Stat.Uid || a.Stat.Gid != b.Stat.Gid || a.Stat.Rdev != b.Stat.Rdev {
		return false, nil
	}
	switch a.Stat.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := fsat.Readlink(a.Dir, a.Name)
		if err != nil {
			return false, err
		}
		other, err := fsat.Readlink(b.Dir, b.Name)
		return target == other, err
	case unix.S_IFREG:
		return t.isSameContent(a, b)
	}
	return true, nil
}

// isCopy reports whether a hard link to a file of a layer below is a copy of that file, which
// has the attributes of the link's entry.
func (t *layerTree) isCopy(f *file, link, target treestack.Entry) (bool, error) {
	if link.Stat.Mode&unix.S_IFMT != target.Stat.Mode&unix.S_IFMT || link.Stat.Rdev != target.Stat.Rdev {
		return false, nil
	}
	if _, has := f.xattr[layertar.Capabilities]; has && link.Stat.Mode&unix.S_IFMT == unix.S_IFREG {
		return t.hasSameBytes(link, target)
	}
	link.Stat.Mode, link.Stat.Uid, link.Stat.Gid = target.Stat.Mode, target.Stat.Uid, target.Stat.Gid
	return t.isSameFile(link, target)
}

func (t *layerTree) isSameContent(a, b treestack.Entry) (bool, error) {
	caps, _, err := readXattr(a.Dir, a.Name, layertar.Capabilities)
	if err != nil {
		return false, err
	}
	other, _, err := readXattr(b.Dir, b.Name, layertar.Capabilities)
	if err != nil || caps != other {
		return false, err
	}
	return t.hasSameBytes(a, b)
}

func (t *layerTree) hasSameBytes(a, b treestack.Entry) (bool, error) {
	if a.Stat.Size != b.Stat.Size {
		return false, nil
	}
	fd, err := fsat.OpenFile(b.Dir, b.Name)
	if err != nil {
		return false, err
	}
	f := os.NewFile(uintptr(fd), b.Name)
	defer f.Close()
	err = t.readContent(a, &equalWriter{other: f})
	if errors.Is(err, errUnequal) {
		return false, nil
	}
	return err == nil, err
}

var errUnequal = errors.New("the contents differ")

// equalWriter fails when what is written is not what the other reader has.
type equalWriter struct {
	other io.Reader
	buf   []byte
}

func (w *equalWriter) Write(p []byte) (int, error) {
	if len(w.buf) < len(p) {
		w.buf = make([]byte, len(p))
	}
	n, err := io.ReadFull(w.other, w.buf[:len(p)])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	if !bytes.Equal(w.buf[:n], p) {
		return 0, errUnequal
	}
	return len(p), nil
}
