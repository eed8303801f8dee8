package dockerstore

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	digest "github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// maxEntry bounds one JSON entry of a tar-split record. Headers with long extended
// attributes are the largest real entries.
const maxEntry = 16 << 20

// tarSplitName is Docker's file name of a tar-split record.
const tarSplitName = "tar-split.json.gz"

// TarSplit is the record of a layer's tar: everything except the files' content.
type TarSplit struct {
	name string // below the data-root
	file *os.File
	gzip *gzip.Reader
}

// TarSplit opens the record of a layer's tar.
func (r *Root) TarSplit(driver string, chain digest.Digest) (*TarSplit, error) {
	if err := errors.Join(checkDriver(driver), chain.Validate()); err != nil {
		return nil, err
	}
	name := path.Join(imagesDir, driver, "layerdb/sha256", chain.Encoded(), tarSplitName)
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	record, err := OpenTarSplit(f)
	if err != nil {
		return nil, err
	}
	record.name = name
	return record, nil
}

// OpenTarSplit opens a record of a layer's tar in a file, which the record closes.
func OpenTarSplit(f *os.File) (*TarSplit, error) {
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the tar-split record %s: %w", f.Name(), err), f.Close())
	}
	return &TarSplit{f.Name(), f, z}, nil
}

// Close closes the record. Damage of it is the error of the call that has read it.
func (t *TarSplit) Close() error {
	_ = t.gzip.Close() // says again why a read failed
	return t.file.Close()
}

// WriteTar writes the layer's tar as it was, with the content of files from get. It
// returns a Damage when the record is at fault.
func (t *TarSplit) WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error {
	if err := t.rewind(); err != nil {
		return err
	}
	return writeTar(t.name, t.gzip, w, get)
}

// ReadEntries calls yield for each entry of the layer's tar. It needs no content, so it
// also reads a record from which WriteTar cannot write the tar again. It returns a Damage
// when the record is at fault.
func (t *TarSplit) ReadEntries(yield func(TarEntry) error) error {
	if err := t.rewind(); err != nil {
		return err
	}
	return readEntries(t.name, t.gzip, yield)
}

// rewind makes the next call read the record from its beginning.
func (t *TarSplit) rewind() error {
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := t.gzip.Reset(t.file); err != nil {
		return Damage{t.name, err}
	}
	return nil
}

func writeTar(name string, record io.Reader, w io.Writer, get func(name string) (io.ReadCloser, error)) error {
	return asm.WriteOutputTarStream(fileGetter(get), newUnpacker(name, record), w)
}

func newUnpacker(name string, record io.Reader) *checkedUnpacker {
	bounded := &entryReader{r: record}
	return &checkedUnpacker{storage.NewJSONUnpacker(bounded), bounded, name}
}

// fileGetter is a storage.FileGetter.
type fileGetter func(name string) (io.ReadCloser, error)

func (g fileGetter) Get(name string) (io.ReadCloser, error) { return g(name) }

// checkedUnpacker checks the type of each entry of a record.
type checkedUnpacker struct {
	storage.Unpacker
	bounded *entryReader
	name    string
}

// Next returns the next entry.
func (e *checkedUnpacker) Next() (*storage.Entry, error) {
	entry, err := e.Unpacker.Next()
	e.bounded.n = 0
	if err == nil && entry.Type != storage.FileType && entry.Type != storage.SegmentType {
		err = fault.New(fault.Unsupported, "unknown type %d of a tar-split entry", entry.Type)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = Damage{e.name, err}
	}
	return entry, err
}

// entryReader fails for an entry longer than maxEntry, so that a small compressed file
// cannot fill the memory.
type entryReader struct {
	r io.Reader
	n int64 // since the last entry
}

func (e *entryReader) Read(p []byte) (int, error) {
	if e.n > maxEntry {
		return 0, fault.New(fault.UnsafeInput, "a tar-split entry is longer than %d bytes", maxEntry)
	}
	n, err := e.r.Read(p)
	e.n += int64(n)
	return n, err
}
