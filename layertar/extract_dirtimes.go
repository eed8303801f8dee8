package layertar

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// dirTimes are the times of a directory. They are set last, when nothing is created in
// the directory any more.
type dirTimes struct {
	path         string
	atime, mtime time.Time
}

// maxDirTimes bounds the memory of a dirTimesList.
const maxDirTimes = 4 << 20

// dirTimesList is a list of any length in bounded memory: a path is stored without what it
// has in common with the one before it, and what exceeds maxDirTimes goes into a file
// without a name.
type dirTimesList struct {
	last   string
	memory bytes.Buffer
	file   *os.File
	err    error
}

// add appends to the list. makeFile makes the file without a name.
func (l *dirTimesList) add(d dirTimes, makeFile func() (*os.File, error)) error {
	shared := 0
	for shared < min(len(l.last), len(d.path)) && l.last[shared] == d.path[shared] {
		shared++
	}
	record := binary.AppendUvarint(nil, uint64(shared))
	record = binary.AppendUvarint(record, uint64(len(d.path)-shared))
	record = append(record, d.path[shared:]...)
	record = binary.AppendVarint(record, d.atime.UnixNano())
	record = binary.AppendVarint(record, d.mtime.UnixNano())
	l.memory.Write(record)
	l.last = d.path
	if l.memory.Len() < maxDirTimes {
		return nil
	}
	if l.file == nil {
		if l.file, l.err = makeFile(); l.err != nil {
			return l.err
		}
	}
	_, l.err = l.memory.WriteTo(l.file)
	return l.err
}

// each calls visit with each element, in the order of their adding.
func (l *dirTimesList) each(visit func(dirTimes) error) error {
	var all io.Reader = &l.memory
	if l.file != nil {
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		all = io.MultiReader(l.file, all)
	}
	r := bufio.NewReaderSize(all, headerBuffer)
	for path := ""; ; {
		d, err := readDirTimes(r, path)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(d)
		}
		if err != nil {
			return err
		}
		path = d.path
	}
}

// readDirTimes reads one element. last is the path of the one before it.
func readDirTimes(r *bufio.Reader, last string) (d dirTimes, err error) {
	shared, err := binary.ReadUvarint(r)
	if err != nil {
		return d, err
	}
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return d, noEOF(err)
	}
	path := append(make([]byte, 0, shared+size), last[:shared]...)
	path = path[:shared+size]
	if _, err := io.ReadFull(r, path[shared:]); err != nil {
		return d, noEOF(err)
	}
	atime, err := binary.ReadVarint(r)
	if err != nil {
		return d, noEOF(err)
	}
	mtime, err := binary.ReadVarint(r)
	return dirTimes{string(path), time.Unix(0, atime), time.Unix(0, mtime)}, noEOF(err)
}

// noEOF replaces io.EOF inside of an element.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// close frees the file.
func (l *dirTimesList) close() {
	if l.file != nil {
		_ = l.file.Close() // it has no name, and is not needed any more
	}
}

// addDirTimes has the times of a directory set at the end.
func (x *extractor) addDirTimes(path string, atime, mtime time.Time) error {
	return x.dirs.add(dirTimes{path, boundTime(atime), boundTime(mtime)}, func() (*os.File, error) {
		fd, err := fsat.CreateUnnamed(x.root)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "times of directories"), nil
	})
}
