package rebuild

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// fileFinder opens a layer's files by their names in the tar.
type fileFinder struct{ *fsat.Resolver }

func newFileFinder(layer *os.File) fileFinder { return fileFinder{fsat.NewResolver(int(layer.Fd()))} }

// openContent opens a regular file by its name in the tar.
func (f fileFinder) openContent(name string) (io.ReadCloser, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if kind, _, err := whiteout.Classify(clean); err != nil || kind != whiteout.None {
		return nil, Unproven{fmt.Errorf("the record wants the content of %.200q, which is not a file of the layer", name)}
	}
	dir, base := path.Split(clean)
	dirfd, err := f.Dir(strings.TrimSuffix(dir, "/"), nil)
	if err != nil {
		return nil, explainMissing(name, err)
	}
	fd, err := fsat.OpenFile(dirfd, base)
	if err != nil {
		return nil, explainMissing(name, err)
	}
	st, err := fsat.StatFD(fd)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = notRegularError(name)
	}
	if err != nil {
		fsat.CloseQuietly(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// explainMissing returns a Difference for a name that is missing or of another type.
func explainMissing(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return Difference{fault.New(fault.Invalid, "%.200q is missing", name)}
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return notRegularError(name)
	}
	return err
}

func notRegularError(name string) error {
	return Difference{fault.New(fault.Invalid, "%.200q is not a regular file", name)}
}
