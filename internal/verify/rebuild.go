package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/dockerstore"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// record is what makes the tar again: dockerstore.TarSplit.
type record interface {
	WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error
}

// comparison is that of one layer.
type comparison struct {
	ctx      context.Context
	dir      *os.File // the layer's own content
	base     bool     // no layer is below
	read     func(n int)
	resolver *fsat.Resolver // of files' content
}

func newComparison(ctx context.Context, dir *os.File, base bool, read func(n int)) *comparison {
	if read == nil {
		read = func(int) {}
	}
	return &comparison{ctx, dir, base, read, fsat.NewResolver(int(dir.Fd()))}
}

func (c *comparison) close() { c.resolver.Forget() }

// run makes the tar again and compares its digest, then what the tar names with
// what is there.
func (c *comparison) run(r record, want digest.Digest) error {
	pr, pw := io.Pipe()
	named := newEntries()
	parsed := make(chan error, 1)
	go func() {
		err := named.readAll(pr)
		if err != nil {
			pr.CloseWithError(errUnproven{fmt.Errorf("the tar that Docker recorded: %w", err)})
		}
		parsed <- err
	}()
	digester := digest.SHA256.Digester()
	err := r.WriteTar(io.MultiWriter(digester.Hash(), counted{pw, c}), c.content)
	pw.CloseWithError(err)
	parseErr := <-parsed
	if damage := (dockerstore.Damage{}); errors.As(err, &damage) {
		return errUnproven{err}
	}
	if err != nil {
		return err
	}
	if got := digester.Digest(); got != want {
		return fmt.Errorf("its tar has the digest %s", got)
	}
	if parseErr != nil {
		return errUnproven{fmt.Errorf("the tar that Docker recorded: %w", parseErr)}
	}
	return named.compare(c.ctx, c.dir, c.base)
}

// counted passes on what is compared, until the caller has gone.
type counted struct {
	io.Writer
	c *comparison
}

func (w counted) Write(p []byte) (int, error) {
	if err := w.c.ctx.Err(); err != nil {
		return 0, err
	}
	w.c.read(len(p))
	return w.Writer.Write(p)
}

// content opens a file of the layer by its name in the tar, found as it was
// when the layer was unpacked.
func (c *comparison) content(name string) (io.ReadCloser, error) {
	if kind, _, err := whiteout.Classify(clean(name)); err != nil || kind != whiteout.None {
		return nil, errUnproven{fmt.Errorf("%q was no file of the layer, and its content is nowhere", name)}
	}
	dir, base := path.Split(path.Clean(strings.TrimLeft(name, "/")))
	dirfd, err := c.resolver.Dir(strings.TrimSuffix(dir, "/"), nil)
	if err != nil {
		return nil, missing(name, err)
	}
	fd, err := fsat.OpenFile(dirfd, base)
	if err != nil {
		return nil, missing(name, err)
	}
	st, err := fsat.StatFD(fd)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fault.New(fault.Invalid, "%q is no file any more", name)
	}
	if err != nil {
		fsat.CloseQuietly(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func missing(name string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%q is missing", name)
	}
	return err
}
