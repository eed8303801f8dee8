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

// compare fails when an entry of the tar is missing or different in the layer, or when
// the layer has other files.
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

// addName adds the name to an error.
func addName(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", name, err)
}

// layerTree is the layer on disk.
type layerTree struct {
	root           int
	base           bool // a base layer, which has nothing to hide
	entries        *entries
	namedLocations map[location]bool // what the tar names
	opaqueDirs     map[uint64]bool   // directories, by inode, that are to hide the one below
	files          map[uint64]*file
	orderedFiles   []*file
	resolver       *fsat.Resolver
}

// location identifies a name in a directory. Different paths can lead to it, because the
// paths in a tar can pass symlinks.
type location struct {
	dir  uint64 // inode
	name string
}

// file is a file that one or more entries name.
type file struct {
	name        string // the first that leads here
	location    location
	st          unix.Stat_t
	typeHeader  *tar.Header // says what it is; nil where only hard links were found
	ownerHeader *tar.Header // says whose it is, as the last that was unpacked
	xattr       map[string]string
	// capabilitiesUnclear is set when a later entry has no capabilities. Engines differ in
	// whether a new owner removes them.
	capabilitiesUnclear bool
}

// checkEntry finds the file of an entry, or checks its whiteout.
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
		return t.checkWhiteout(e.name) // a whiteout in overlayfs's form
	}
	at, st, err := t.stat(e.name)
	if err != nil {
		return err
	}
	e.ino = st.Ino
	return t.mergeEntry(e, at, st)
}

// mergeEntry combines the entries of one file.
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

// checkHardLink fails when a hard link and its target are different files, unless a later
// entry replaced the target.
func (t *layerTree) checkHardLink(e *entry) error {
	target := t.entries.findEntry(cleanPath(e.header.Linkname))
	if target != nil && target.number < e.number && target.ino != e.ino {
		return fmt.Errorf("is not a hard link to %q", e.header.Linkname)
	}
	return nil
}

// openParent opens the parent directory of a path.
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
		return at, st, errMissing
	}
	if err != nil {
		return at, st, err
	}
	dir, err := fsat.StatFD(dirfd)
	at = location{dir.Ino, base}
	t.namedLocations[at] = true
	return at, st, err
}

var errMissing = errors.New("is missing")

// checkWhiteout fails when a deletion of the tar has no effect in the layer. The layer's
// own file of that name hides the one below, too; a directory has to be opaque.
func (t *layerTree) checkWhiteout(target string) error {
	_, st, err := t.stat(target)
	switch {
	case t.base && errors.Is(err, errMissing): // there is nothing below either
		if dir := path.Dir(target); dir != "." {
			_, _, err = t.stat(dir) // which the deletion has implied
			return err
		}
		return nil
	case err != nil:
		return fmt.Errorf("the deletion of %q %w", target, err)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return t.checkOpaque(target)
	case overlayfs.IsWhiteout(st.Mode, st.Rdev):
		return nil
	}
	if own := t.entries.findEntry(target); own == nil {
		return fmt.Errorf("the deletion of %q is not a whiteout", target)
	}
	return nil
}

// checkOpaque fails when a directory is not opaque.
func (t *layerTree) checkOpaque(target string) error {
	if target == "." {
		return nil // without effect
	}
	_, st, err := t.stat(target)
	if err != nil {
		return err
	}
	t.opaqueDirs[st.Ino] = true
	if t.base {
		return nil
	}
	dirfd, base, err := t.openParent(target)
	if err != nil {
		return err
	}
	value, err := fsat.GetXattr(dirfd, base, overlayfs.OpaqueXattr)
	if errors.Is(err, unix.ENODATA) || err == nil && !overlayfs.IsOpaque(value) {
		return errors.New("is not opaque, so the directory below shows")
	}
	return err
}
