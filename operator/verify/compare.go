package verify

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// compare makes sure that what the tar names is there as it says, and nothing
// else.
func (e *entries) compare(ctx context.Context, dir *os.File, base bool) error {
	t := &there{
		root: int(dir.Fd()), base: base, named: e, known: map[spot]bool{}, hides: map[uint64]bool{},
		files: map[uint64]*file{}, resolver: fsat.NewResolver(int(dir.Fd())),
	}
	defer t.resolver.Forget()
	for _, entry := range e.inOrder() {
		if err := errors.Join(ctx.Err(), in(entry.name, t.entry(entry))); err != nil {
			return err
		}
	}
	for _, f := range t.inOrder {
		if err := errors.Join(ctx.Err(), in(f.name, t.file(f))); err != nil {
			return err
		}
	}
	return t.nothingElse(ctx)
}

// in says of which name an error is.
func in(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", name, err)
}

// there is what is on disk.
type there struct {
	root     int
	base     bool // nothing is below to be hidden
	named    *entries
	known    map[spot]bool   // what the tar names
	hides    map[uint64]bool // directories, by inode, that are to hide the one below
	files    map[uint64]*file
	inOrder  []*file
	resolver *fsat.Resolver
}

// spot is a name in a directory, however the tar leads there: paths can pass
// symlinks.
type spot struct {
	dir  uint64 // inode
	name string
}

// file is what one or more entries stand for.
type file struct {
	name  string // the first that leads here
	spot  spot
	st    unix.Stat_t
	made  *tar.Header // says what it is; nil where only hard links were found
	last  *tar.Header // says whose it is, as the last that was unpacked
	xattr map[string]string
	// unclear: a later entry without capabilities may have taken them away, as
	// engines do with each new owner, or not.
	unclear bool
}

// entry looks at what stands for an entry of the tar.
func (t *there) entry(e *entry) error {
	kind, target, err := whiteout.Classify(e.name)
	if err != nil {
		return rebuild.Unproven{Err: err}
	}
	switch kind {
	case whiteout.Metadata:
		return nil
	case whiteout.Opaque:
		return t.opaque(target)
	case whiteout.Whiteout:
		return t.whiteout(target)
	case whiteout.None:
	}
	if e.header.Typeflag == tar.TypeChar && e.header.Devmajor == 0 && e.header.Devminor == 0 {
		return t.whiteout(e.name) // as overlayfs has it
	}
	at, st, err := t.stat(e.name)
	if err != nil {
		return err
	}
	e.ino = st.Ino
	return t.note(e, at, st)
}

// note joins the entries that are one file.
func (t *there) note(e *entry, at spot, st unix.Stat_t) error {
	f := t.files[st.Ino]
	if f == nil {
		f = &file{name: e.name, spot: at, st: st, xattr: map[string]string{}}
		t.files[st.Ino] = f
		t.inOrder = append(t.inOrder, f)
	}
	_, had := f.xattr[layertar.Capabilities]
	_, has := e.xattrs[layertar.Capabilities]
	f.unclear = had && !has
	maps.Copy(f.xattr, e.xattrs)
	f.last = e.header
	if e.header.Typeflag == tar.TypeLink {
		return t.linked(e)
	}
	if f.made != nil && f.spot != at {
		return fmt.Errorf("is the same file as %q", f.name)
	}
	f.name, f.spot, f.made = e.name, at, e.header
	return nil
}

// linked makes sure that a hard link is one. Its target may have been replaced by
// a later entry.
func (t *there) linked(e *entry) error {
	target := t.named.at(clean(e.header.Linkname))
	if target != nil && target.number < e.number && target.ino != e.ino {
		return fmt.Errorf("is no hard link to %q", e.header.Linkname)
	}
	return nil
}

// place opens the directory of a path.
func (t *there) place(name string) (dirfd int, base string, err error) {
	dir, base := path.Split(name)
	dirfd, err = t.resolver.Dir(strings.TrimSuffix(dir, "/"), nil)
	return dirfd, base, err
}

func (t *there) stat(name string) (at spot, st unix.Stat_t, err error) {
	dirfd, base, err := t.place(name)
	if err == nil {
		st, err = fsat.Stat(dirfd, base)
	}
	if errors.Is(err, unix.ENOENT) {
		return at, st, errors.New("is missing")
	}
	if err != nil {
		return at, st, err
	}
	dir, err := fsat.StatFD(dirfd)
	at = spot{dir.Ino, base}
	t.known[at] = true
	return at, st, err
}

// whiteout looks for a deletion. What the layer itself has at that place hides
// what is below as well, a directory by its mark.
func (t *there) whiteout(target string) error {
	_, st, err := t.stat(target)
	switch {
	case err != nil:
		return fmt.Errorf("the deletion of %q %w", target, err)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return t.opaque(target)
	case overlayfs.IsWhiteout(st.Mode, st.Rdev):
		return nil
	}
	if own := t.named.at(target); own == nil {
		return fmt.Errorf("the deletion of %q is no whiteout", target)
	}
	return nil
}

// opaque looks for the mark of a directory that hides the one below.
func (t *there) opaque(target string) error {
	if target == "." && t.base {
		return nil
	}
	_, st, err := t.stat(target)
	if err != nil {
		return err
	}
	t.hides[st.Ino] = true
	dirfd, base, err := t.place(target)
	if err != nil {
		return err
	}
	value, err := fsat.GetXattr(dirfd, base, overlayfs.OpaqueXattr)
	if errors.Is(err, unix.ENODATA) || err == nil && !overlayfs.IsOpaque(value) {
		return errors.New("does not hide the directory below it")
	}
	return err
}
