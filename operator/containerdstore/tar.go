package containerdstore

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	digest "github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// OpenTar returns a record of the tar whose digest is diff, made from one of the blobs
// that hold it. It reads the whole blob. It fails with fault.NotFound when containerd has
// none of them: it can discard them once an image is unpacked.
func (r *Root) OpenTar(diff digest.Digest, blobs []digest.Digest) (*dockerstore.TarSplit, error) {
	var errs []error
	for _, blob := range blobs {
		f, err := r.OpenBlob(blob)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		record, err := makeRecord(f, diff)
		if err = errors.Join(err, f.Close()); err == nil {
			return record, nil
		}
		errs = append(errs, fmt.Errorf("blob %s: %w", blob, err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return nil, fault.New(fault.NotFound, "containerd does not have the layer's tar: no image has it, or it was discarded when the image was unpacked")
}

// makeRecord makes the record of a tar in memory.
func makeRecord(blob io.Reader, diff digest.Digest) (*dockerstore.TarSplit, error) {
	plain, err := decompress(blob)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("tar-split", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "the record of "+string(diff))
	compressed, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	digester := digest.SHA256.Digester()
	tar, done, err := asm.NewInputTarStreamWithDone(io.TeeReader(plain, digester.Hash()), storage.NewJSONPacker(compressed), nil)
	if err == nil {
		_, err = io.Copy(io.Discard, tar)
		closeErr, parseErr := tar.Close(), <-done
		err = cmp.Or(err, parseErr, closeErr)
	}
	if err = errors.Join(err, compressed.Close()); err == nil && digester.Digest() != diff {
		err = fault.New(fault.Invalid, "the tar has the digest %s, not %s", digester.Digest(), diff)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return dockerstore.OpenTarSplit(f)
}

// The first bytes of compressed blobs.
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress returns the tar in a blob. The media type of a blob is not relied on: engines
// have written wrong ones.
func decompress(blob io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(blob, 1<<20)
	head, err := buffered.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return gzip.NewReader(buffered)
	case bytes.HasPrefix(head, zstdMagic):
		return nil, fault.New(fault.Unsupported, "it is compressed with zstd")
	}
	return buffered, nil
}
