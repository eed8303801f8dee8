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
	t := &layerTree{
		root: int(dir.Fd()), base: base, entries: e, namedLocations: map[location]bool{}, opaqueDirs: map[uint64]bool{},
		files: map[uint64]*file{}, resolver: fsat.NewResolver(int(dir.Fd())),
	}
	defer t.resolver.Forget()
	for _, entry := range e.sortedEntries() {
		if err := errors.Join(ctx.Err(), addName(entry.name, t.checkEntry(entry))); err != nil {
			return err
		}
	}
	for _, f := range t.orderedFiles {
		if err := errors.Join(ctx.Err(), addName(f.name, t.checkFile(f))); err != nil {
			return err
		}
	}
	return t.checkNothingExtra(ctx)
}

// addName says of which name an error is.
func addName(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", name, err)
}

// layerTree is what is on disk.
type layerTree struct {
	root           int
	base           bool // nothing is below to be hidden
	entries        *entries
	namedLocations map[location]bool // what the tar names
	opaqueDirs     map[uint64]bool   // directories, by inode, that are to hide the one below
	files          map[uint64]*file
	orderedFiles   []*file
	resolver       *fsat.Resolver
}

// location is a name in a directory, however the tar leads there: paths can pass
// symlinks.
type location struct {
	dir  uint64 // inode
	name string
}

// file is what one or more entries stand for.
type file struct {
	name        string // the first that leads here
	location    location
	st          unix.Stat_t
	typeHeader  *tar.Header // says what it is; nil where only hard links were found
	ownerHeader *tar.Header // says whose it is, as the last that was unpacked
	xattr       map[string]string
	// capabilitiesUnclear: a later entry without capabilities may have taken them away, as
	// engines do with each new owner, or not.
	capabilitiesUnclear bool
}

// checkEntry looks at what stands for an entry of the tar.
func (t *layerTree) checkEntry(e *entry) error {
	kind, target, err := whiteout.Classify(e.name)
	if err != nil {
		return rebuild.Unproven{Err: err}
	}
	switch kind {
	case whiteout.Metadata:
		return nil
	case whiteout.Opaque:
		return t.checkOpaque(target)
	case whiteout.Whiteout:
		return t.checkWhiteout(target)
	case whiteout.None:
	}
	if e.header.Typeflag == tar.TypeChar && e.header.Devmajor == 0 && e.header.Devminor == 0 {
		return t.checkWhiteout(e.name) // as overlayfs has it
	}
	at, st, err := t.stat(e.name)
	if err != nil {
		return err
	}
	e.ino = st.Ino
	return t.mergeEntry(e, at, st)
}

// mergeEntry joins the entries that are one file.
func (t *layerTree) mergeEntry(e *entry, at location, st unix.Stat_t) error {
	f := t.files[st.Ino]
	if f == nil {
		f = &file{name: e.name, location: at, st: st, xattr: map[string]string{}}
		t.files[st.Ino] = f
		t.orderedFiles = append(t.orderedFiles, f)
	}
	_, had := f.xattr[layertar.Capabilities]
	_, has := e.xattrs[layertar.Capabilities]
	f.capabilitiesUnclear = had && !has
	maps.Copy(f.xattr, e.xattrs)
	f.ownerHeader = e.header
	if e.header.Typeflag == tar.TypeLink {
		return t.checkHardLink(e)
	}
	if f.typeHeader != nil && f.location != at {
		return fmt.Errorf("is the same file as %q", f.name)
	}
	f.name, f.location, f.typeHeader = e.name, at, e.header
	return nil
}

// checkHardLink makes sure that a hard link is one. Its target may have been replaced by
// a later entry.
func (t *layerTree) checkHardLink(e *entry) error {
	target := t.entries.findEntry(cleanPath(e.header.Linkname))
	if target != nil && target.number < e.number && target.ino != e.ino {
		return fmt.Errorf("is no hard link to %q", e.header.Linkname)
	}
	return nil
}

// openParent opens the directory of a path.
func (t *layerTree) openParent(name string) (dirfd int, base string, err error) {
	dir, base := path.Split(name)
	dirfd, err = t.resolver.Dir(strings.TrimSuffix(dir, "/"), nil)
	return dirfd, base, err
}

func (t *layerTree) stat(name string) (at location, st unix.Stat_t, err error) {
	dirfd, base, err := t.openParent(name)
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
	at = location{dir.Ino, base}
	t.namedLocations[at] = true
	return at, st, err
}

// checkWhiteout looks for a deletion. What the layer itself has at that place hides
// what is below as well, a directory by its mark.
func (t *layerTree) checkWhiteout(target string) error {
	_, st, err := t.stat(target)
	switch {
	case err != nil:
		return fmt.Errorf("the deletion of %q %w", target, err)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return t.checkOpaque(target)
	case overlayfs.IsWhiteout(st.Mode, st.Rdev):
		return nil
	}
	if own := t.entries.findEntry(target); own == nil {
		return fmt.Errorf("the deletion of %q is no whiteout", target)
	}
	return nil
}

// checkOpaque looks for the mark of a directory that hides the one below.
func (t *layerTree) checkOpaque(target string) error {
	if target == "." && t.base {
		return nil
	}
	_, st, err := t.stat(target)
	if err != nil {
		return err
	}
	t.opaqueDirs[st.Ino] = true
	dirfd, base, err := t.openParent(target)
	if err != nil {
		return err
	}
	value, err := fsat.GetXattr(dirfd, base, overlayfs.OpaqueXattr)
	if errors.Is(err, unix.ENODATA) || err == nil && !overlayfs.IsOpaque(value) {
		return errors.New("does not hide the directory below it")
	}
	return err
}
