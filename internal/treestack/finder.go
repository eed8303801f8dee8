package treestack

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// Layer is a layer's directory and how to open those of the layers below.
type Layer struct {
	Dir *os.File
	// OpenBelow opens the layers below, nearest first. It is nil for a layer with nothing
	// below, and for a tree that shows the layers below as well.
	OpenBelow func() ([]*os.File, error)
}

// Finder finds the files of a layer by their paths. It looks into the layers below only for
// a path that the layer itself does not have.
type Finder struct {
	layer    Layer
	resolver *fsat.Resolver
	below    []*os.File
	stack    Dir
	opened   bool
	last     Dir // the directory of the last answer
}

// NewFinder returns a Finder, which the caller closes. The layer's directory stays the
// caller's.
func NewFinder(layer Layer) *Finder {
	return &Finder{layer: layer, resolver: fsat.NewResolver(int(layer.Dir.Fd())), last: Dir{borrowed: true}}
}

// Close closes the layers below.
func (f *Finder) Close() error {
	f.resolver.Forget()
	f.last.Close()
	var errs []error
	for _, dir := range f.below {
		errs = append(errs, dir.Close())
	}
	return errors.Join(errs...)
}

// Find returns the file of a path, which is relative and clean. Symlinks of directories are
// followed within the layers. The entry's directory is valid until the next call. Unlike
// Dir.Find, it returns a whiteout of the layer itself.
func (f *Finder) Find(name string) (Entry, error) {
	e, err := f.findInLayer(name)
	if !errors.Is(err, unix.ENOENT) || f.layer.OpenBelow == nil {
		return e, err
	}
	stack, err := f.Stack()
	if err != nil {
		return e, err
	}
	dir, base, err := OpenParent(stack, name)
	if err != nil {
		return e, err
	}
	f.last.Close()
	f.last = dir
	return dir.Find(base)
}

func (f *Finder) findInLayer(name string) (Entry, error) {
	dir, base := path.Split(name)
	dirfd, err := f.resolver.Dir(strings.TrimSuffix(dir, "/"), nil)
	if err != nil {
		return Entry{}, err
	}
	st, err := fsat.Stat(dirfd, base)
	return Entry{Dir: dirfd, Name: base, Stat: st}, err
}

// Stack returns the stack of the layer and the layers below. It stays the Finder's.
func (f *Finder) Stack() (Dir, error) {
	if f.opened {
		return f.stack, nil
	}
	if f.layer.OpenBelow != nil {
		below, err := f.layer.OpenBelow()
		if err != nil {
			return Dir{}, err
		}
		f.below = below
	}
	f.stack, f.opened = Root(append([]*os.File{f.layer.Dir}, f.below...)...), true
	return f.stack, nil
}
