package treecopy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
)

// Options apply to a copy.
type Options struct {
	// Copied is called with the number of bytes of content that were copied;
	// nil for nobody.
	Copied func(n int64)
}

// Upper copies an overlay's upper directory into the empty directory dst.
// Whiteouts and opaque directories are copied unchanged. Redirected directories and
// files without content (metacopy) are refused, because they mean nothing elsewhere.
func Upper(ctx context.Context, dst, src *os.File, o Options) error {
	c := newCopier(ctx, dst, src, o)
	defer c.close()
	if err := fsat.Walk(ctx, int(src.Fd()), true, c); err != nil {
		return err
	}
	return c.finish()
}

// Tree copies a whole tree into the empty directory dst unchanged, all extended attributes of
// overlayfs included: what layers in it mean stays true when all of them move together.
func Tree(ctx context.Context, dst, src *os.File, o Options) error {
	c := newCopier(ctx, dst, src, o)
	defer c.close()
	c.verbatim = true
	if err := fsat.Walk(ctx, int(src.Fd()), true, c); err != nil {
		return err
	}
	return c.finish()
}

// MergeUpper changes the whole tree dst into the merged view of an overlay with the lower
// directory dst and the upper directory src: whiteouts delete, and files replace.
func MergeUpper(ctx context.Context, dst, src *os.File, o Options) error {
	c := newCopier(ctx, dst, src, o)
	defer c.close()
	c.merges = true
	if err := fsat.Walk(ctx, int(src.Fd()), true, c); err != nil {
		return err
	}
	return c.finish()
}

// Changes copies what differs between src, a whole tree, and the tree below it
// into the empty directory dst, as overlayfs would have written it: a deletion
// becomes a whiteout. Marks that an overlay inside of the container has written are
// refused, because they would mean something else to the overlay around it.
func Changes(ctx context.Context, dst, src *os.File, changes []treediff.Change, o Options) error {
	c := newCopier(ctx, dst, src, o)
	defer c.close()
	c.plain = true
	for _, change := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := strings.TrimPrefix(change.Path, "/")
		if err := c.change(name, change.Kind); err != nil {
			return err
		}
	}
	return c.finish()
}

// copier copies entries from one tree to the other.
type copier struct {
	Options
	ctx      context.Context
	src, dst int
	from, to *fsat.Resolver
	merges   bool                  // the target is a tree that is changed
	repairs  bool                  // the target is an upper directory that is changed
	lost     []string              // see Repaired
	verbatim bool                  // every attribute is copied
	plain    bool                  // the source is no overlay's, the target is one's upper directory
	links    map[fsat.Inode]string // first names of files that have several
	dirs     map[string]bool       // that were made
	order    []string              // in which they were
}

func newCopier(ctx context.Context, dst, src *os.File, o Options) *copier {
	if o.Copied == nil {
		o.Copied = func(int64) {}
	}
	return &copier{
		Options: o, ctx: ctx, src: int(src.Fd()), dst: int(dst.Fd()),
		from: fsat.NewStrictResolver(int(src.Fd())), to: fsat.NewStrictResolver(int(dst.Fd())),
		links: map[fsat.Inode]string{}, dirs: map[string]bool{"": true},
	}
}

func (c *copier) close() {
	c.from.Forget()
	c.to.Forget()
}

// finish gives directories their attributes, those deepest down first: whatever
// is made in one changes its times.
func (c *copier) finish() error {
	for _, name := range slices.Backward(c.order) {
		if err := c.dirAttributes(name); err != nil {
			return err
		}
	}
	return c.dirAttributes("")
}

// Enter, File and Leave make a copier a fsat.Visitor of the source.

func (c *copier) Enter(_ int, p fsat.Path, fd int) error {
	if c.merges {
		if err := c.clear(p.String(), fd); err != nil {
			return wrapEntryError(p.String(), err)
		}
	}
	return c.makeDir(p.String())
}

func (c *copier) File(parent int, p fsat.Path, _ uint8) error {
	name := p.String()
	to, err := c.to.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	if c.merges {
		if gone, err := c.replace(parent, to, p.Name); err != nil || gone {
			return wrapEntryError(name, err)
		}
	}
	return wrapEntryError(name, c.file(parent, to, p.Name, name))
}

func (c *copier) Leave(int, fsat.Path) error { return nil }

// change makes the entry of one change.
func (c *copier) change(name string, kind treediff.Kind) error {
	if err := c.makeParents(dirOf(name)); err != nil {
		return err
	}
	to, err := c.to.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	if kind == treediff.Delete {
		return wrapEntryError(name, fsat.Mknod(to, path.Base(name), overlayfs.WhiteoutMode, overlayfs.WhiteoutNum))
	}
	from, err := c.from.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	st, err := fsat.Stat(from, path.Base(name))
	if err != nil {
		return wrapEntryError(name, err)
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return c.makeDir(name)
	case overlayfs.IsWhiteout(st.Mode, st.Rdev):
		return wrapEntryError(name, inner("it is a whiteout"))
	}
	return wrapEntryError(name, c.file(from, to, path.Base(name), name))
}

func (c *copier) makeParents(dir string) error {
	if c.dirs[dir] {
		return nil
	}
	if err := c.makeParents(dirOf(dir)); err != nil {
		return err
	}
	return c.makeDir(dir)
}

func (c *copier) makeDir(name string) error {
	if c.dirs[name] {
		return nil
	}
	to, err := c.to.Dir(dirOf(name), nil)
	if err == nil {
		err = fsat.Mkdir(to, path.Base(name), 0o700)
	}
	if err != nil && (!c.repairs || !errors.Is(err, fs.ErrExist)) {
		return wrapEntryError(name, err)
	}
	c.dirs[name] = true
	c.order = append(c.order, name)
	return nil
}

func dirOf(name string) string {
	dir, _ := path.Split(name)
	return strings.TrimSuffix(dir, "/")
}

func wrapEntryError(name string, err error) error {
	if err == nil {
		return nil
	}
	var known *fs.PathError
	if errors.As(err, &known) {
		return fault.Classify(&fs.PathError{Op: "copy (" + known.Op + ")", Path: name, Err: known.Err})
	}
	return fault.Classify(&fs.PathError{Op: "copy", Path: name, Err: err})
}
