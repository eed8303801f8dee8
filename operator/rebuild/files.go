package rebuild

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// CleanName returns the path that an entry of a tar names, relative to the layer's root. A
// name that climbs above the root stays at the root.
func CleanName(name string) string {
	if clean := path.Clean("/" + name); clean != "/" {
		return clean[1:]
	}
	return "."
}

// contentOpener opens a layer's files by their names in the tar.
type contentOpener struct{ *treestack.Finder }

// openContent opens a regular file by its name in the tar.
func (o contentOpener) openContent(name string) (io.ReadCloser, error) {
	clean := CleanName(name)
	if kind, _, err := whiteout.Classify(clean); err != nil || kind != whiteout.None {
		return nil, Unproven{fmt.Errorf("the record wants the content of %.200q, which is not a file of the layer", name)}
	}
	e, err := o.Find(clean)
	if err != nil {
		return nil, explainMissing(name, err)
	}
	if e.Stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, notRegularError(name) // opening a device can do something
	}
	fd, err := fsat.OpenFile(e.Dir, e.Name)
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
