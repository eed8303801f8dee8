package migrate

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/dockerstore"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// errDigest is of a layer that is not what Docker recorded.
var errDigest = errors.New("its files are not what Docker recorded")

// unpack makes an image layer's tar again, from Docker's record of it and the
// old layer's files, and unpacks it. Only when its digest is the recorded one
// does the stream end well, and only then is there a layer.
func (c *carrier) unpack(ctx context.Context, it item, layer *os.File) (err error) {
	record, err := c.docker.TarSplit(c.job.From, it.image.Chain)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	files := fsat.NewResolver(int(layer.Fd()))
	defer files.Forget()
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.CloseWithError(c.rebuild(w, record, files, it.image.Diff))
	}()
	_, err = c.store.ApplyDiff(ctx, it.id, it.parent, r)
	r.CloseWithError(errors.Join(io.ErrClosedPipe, err))
	<-ended
	return err
}

// tarRecord is dockerstore.TarSplit.
type tarRecord interface {
	WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error
}

// rebuild writes the tar and compares its digest.
func (c *carrier) rebuild(w io.Writer, record tarRecord, files *fsat.Resolver, want digest.Digest) error {
	digester := digest.SHA256.Digester()
	out := bufio.NewWriterSize(w, 1<<20)
	err := record.WriteTar(io.MultiWriter(digester.Hash(), out, counter(c.copied)), func(name string) (io.ReadCloser, error) {
		return fileOf(files, name)
	})
	if err := errors.Join(err, out.Flush()); err != nil {
		return differs(err)
	}
	if got := digester.Digest(); got != want {
		return fault.New(fault.Invalid, "%w: their tar has the digest %s", errDigest, got)
	}
	return nil
}

// differs recognises what tar-split says of a file that is not the recorded one: it
// has a checksum of each, and no type for that error.
func differs(err error) error {
	var errno unix.Errno
	var record dockerstore.Damage
	if errors.Is(err, errDigest) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &errno) || errors.As(err, &record) {
		return err
	}
	return fault.New(fault.Invalid, "%w: %w", errDigest, err)
}

// counter counts what is written to it.
type counter func(n int64)

func (c counter) Write(p []byte) (int, error) {
	c(int64(len(p)))
	return len(p), nil
}

// fileOf opens a regular file by its name in a tar.
func fileOf(files *fsat.Resolver, name string) (io.ReadCloser, error) {
	dir, base := path.Split(path.Clean(strings.TrimLeft(name, "/")))
	dirfd, err := files.Dir(strings.TrimSuffix(dir, "/"), nil)
	if err != nil {
		return nil, gone(name, err)
	}
	fd, err := fsat.OpenFile(dirfd, base)
	if err != nil {
		return nil, gone(name, err)
	}
	st, err := fsat.StatFD(fd)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fault.New(fault.Invalid, "%w: %.200q is no file any more", errDigest, name)
	}
	if err != nil {
		fsat.CloseQuietly(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func gone(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fault.New(fault.Invalid, "%w: %.200q is missing", errDigest, name)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return fault.New(fault.Invalid, "%w: %.200q is no file any more", errDigest, name)
	}
	return err
}
