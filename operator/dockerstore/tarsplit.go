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

// maxEntry bounds one entry of a tar-split record as JSON; the largest real ones
// are headers with long extended attributes.
const maxEntry = 16 << 20

// tarSplitName is what Docker calls such a record.
const tarSplitName = "tar-split.json.gz"

// TarSplit is the record of a layer's tar: all of it but the files' content.
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
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the tar-split record of %s: %w", chain, err), f.Close())
	}
	return &TarSplit{name, f, z}, nil
}

// Close gives the record up.
func (t *TarSplit) Close() error { return errors.Join(t.gzip.Close(), t.file.Close()) }

// WriteTar writes the layer's tar as it was, with the content of files from get.
// It is Damage when that is the record's fault.
func (t *TarSplit) WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error {
	return writeTar(t.name, t.gzip, w, get)
}

func writeTar(name string, record io.Reader, w io.Writer, get func(name string) (io.ReadCloser, error)) error {
	bounded := &entryReader{r: record}
	unpacker := &checkedUnpacker{storage.NewJSONUnpacker(bounded), bounded, name}
	return asm.WriteOutputTarStream(fileGetter(get), unpacker, w)
}

// fileGetter is a storage.FileGetter.
type fileGetter func(name string) (io.ReadCloser, error)

func (g fileGetter) Get(name string) (io.ReadCloser, error) { return g(name) }

// checkedUnpacker checks what comes out of a record.
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
		err = fault.New(fault.Unsupported, "a tar-split entry of type %d", entry.Type)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = Damage{e.name, err}
	}
	return entry, err
}

// entryReader ends a record in which one entry is longer than any real one, so
// that a small file cannot unfold to fill the memory.
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
