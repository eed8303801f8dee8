package verify

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// compare fails when an entry of the tar is missing or different in the layer, or when
// the layer has other files.
func (e *entries) compare(ctx context.Context, layer treestack.Layer) (err error) {
	t := &layerTree{
		ctx: ctx, layer: layer, entries: e, finder: treestack.NewFinder(layer),
		namedLocations: map[location]bool{}, impliedDirs: map[fsat.Inode]bool{}, opaqueDirs: map[fsat.Inode]bool{}, files: map[fsat.Inode]*file{},
	}
	defer func() {
		t.linked.Close()
		if closeErr := t.finder.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := t.compareAll(); err != nil {
		return err
	}
	return cmp.Or(t.doubt("", t.checkNothingExtra(ctx)), t.unproven)
}

// compareAll compares what the entries name.
func (t *layerTree) compareAll() error {
	for _, entry := range t.entries.sortedEntries() {
		if err := t.keepUnproven(entry.name, t.checkEntry(entry)); err != nil {
			return err
		}
	}
	for _, f := range t.orderedFiles {
		if err := t.keepUnproven(f.name, t.checkFile(f)); err != nil {
			return err
		}
	}
	return nil
}

// keepUnproven adds the name to an error. It keeps an Unproven for later: another file may
// have changed.
func (t *layerTree) keepUnproven(name string, err error) error {
	if t.ctx.Err() != nil || err == nil {
		return t.ctx.Err()
	}
	err = t.doubt(name, addName(name, err))
	if !errors.As(err, new(rebuild.Unproven)) {
		return err
	}
	t.unproven = cmp.Or(t.unproven, err)
	return nil
}

// addName adds the name to an error.
func addName(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", name, err)
}

// layerTree is the layer on disk. A name that the layer itself does not have counts as the
// layers below show it: an entry through a symlink below, or a file that the layer did not
// change.
type layerTree struct {
	ctx            context.Context
	layer          treestack.Layer
	entries        *entries
	namedLocations map[location]bool   // what the tar names
	impliedDirs    map[fsat.Inode]bool // directories that only deletions without effect imply
	opaqueDirs     map[fsat.Inode]bool // directories that are to hide the one below
	files          map[fsat.Inode]*file
	orderedFiles   []*file
	finder         *treestack.Finder
	linked         treestack.Dir // the directory of findBelow's last answer
	unproven       error         // the first Unproven, or nil
	collision      *string       // what findCollision found, once it was called
}

// isBase reports whether the layer has nothing to hide.
func (t *layerTree) isBase() bool { return t.layer.OpenBelow == nil }

// location identifies a name in a directory. Different paths can lead to it, because the
// paths in a tar can pass symlinks.
type location struct {
	dir  fsat.Inode
	name string
}

// file is a file that one or more entries name.
type file struct {
	name        string // the first that leads here
	location    location
	st          unix.Stat_t
	typeHeader  *tar.Header // says what it is; nil where only hard links were found
	ownerHeader *tar.Header // says whose it is, as the last that was unpacked
	link        *entry      // the first of the hard links
	content     checksum    // of typeHeader's entry
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
		return t.checkWhiteout(e, target)
	case whiteout.None:
	}
	if e.isWhiteoutDevice() {
		return t.checkWhiteout(e, e.name) // a whiteout in overlayfs's form
	}
	found, at, err := t.find(e.name)
	if errors.Is(err, errMissing) && t.isBase() && t.linksToDeletion(e) {
		return t.findImplied(e.name) // another whiteout, which leaves nothing in a base layer
	}
	if err != nil {
		return err
	}
	e.file = fsat.InodeOf(found.Stat)
	if err := t.mergeEntry(e, at, found.Stat); err != nil || !e.opaque || t.isBase() {
		return err
	}
	return t.checkOpaqueXattr(e)
}

// mergeEntry combines the entries of one file.
func (t *layerTree) mergeEntry(e *entry, at location, st unix.Stat_t) error {
	f := t.files[e.file]
	if f == nil {
		f = &file{name: e.name, location: at, st: st, xattr: map[string]string{}}
		t.files[e.file] = f
		t.orderedFiles = append(t.orderedFiles, f)
	}
	_, had := f.xattr[layertar.Capabilities]
	_, has := e.xattrs[layertar.Capabilities]
	f.capabilitiesUnclear = had && !has
	maps.Copy(f.xattr, e.xattrs)
	f.ownerHeader = e.header
	if e.header.Typeflag == tar.TypeLink {
		f.link = cmp.Or(f.link, e)
		return t.checkHardLink(e)
	}
	if f.typeHeader != nil && f.location != at {
		return fmt.Errorf("is the same file as %q", f.name)
	}
	if f.typeHeader != nil && f.content.size > 0 && t.entries.lost == "" {
		t.entries.lost = fmt.Sprintf("two entries of the tar are one file (%.200q)", e.name)
	}
	f.name, f.location, f.typeHeader, f.content = e.name, at, e.header, e.content
	return nil
}

// checkHardLink fails when a hard link and its target are different files, unless a later
// entry replaced the target.
func (t *layerTree) checkHardLink(e *entry) error {
	target := t.entries.findEntry(rebuild.CleanName(e.header.Linkname))
	if target != nil && target.number < e.number && target.file != e.file && !isMetadata(target.name) && !target.isWhiteoutDevice() {
		return notLinkedError(e, false)
	}
	return nil
}

func isMetadata(name string) bool {
	kind, _, err := whiteout.Classify(name)
	return err == nil && kind == whiteout.Metadata
}

// notLinkedError is returned for a hard link that is another file than its target. An earlier
// entry of a target that was replaced is not known any more.
func notLinkedError(link *entry, replaced bool) error {
	if replaced {
		return rebuild.Unproven{Err: fmt.Errorf("is a hard link to %q, which a later entry of the tar replaces", link.header.Linkname)}
	}
	return fmt.Errorf("is not a hard link to %q", link.header.Linkname)
}

// findLinkTarget sets what a file is that the tar names only as a hard link: a file of a
// layer below, or of AUFS's bookkeeping, whose entry precedes the links.
func (t *layerTree) findLinkTarget(f *file) error {
	name := rebuild.CleanName(f.link.header.Linkname)
	own := t.entries.findEntry(name)
	if own != nil && isMetadata(name) {
		f.typeHeader, f.content = own.header, own.content
		return nil
	}
	target, _, err := t.find(name)
	if err == nil && fsat.InodeOf(target.Stat) == fsat.InodeOf(f.st) {
		return nil
	}
	// A later entry may have deleted or replaced what the link found.
	replaced := err == nil && target.Layer == 0 && (overlayfs.IsWhiteout(target.Stat.Mode, target.Stat.Rdev) || target.IsDir() || own != nil && own.number > f.link.number)
	if replaced || errors.Is(err, errMissing) { // a directory of the layer can hide a symlink on the path
		target, err = t.findBelow(name)
	}
	if err != nil {
		return notLinkedError(f.link, replaced)
	}
	same := target.Layer > 0
	if same {
		targetDir, err := fsat.Dup(target.Dir) // the next search closes the directory
		if err != nil {
			return err
		}
		defer fsat.CloseQuietly(targetDir)
		target.Dir = targetDir
		link, _, err := t.find(f.name)
		if err != nil {
			return err
		}
		if same, err = t.isCopy(f, link, target); err != nil {
			return err
		}
	}
	if !same {
		return notLinkedError(f.link, replaced)
	}
	return nil
}

// findBelow finds the file of a name in the layers below alone.
func (t *layerTree) findBelow(name string) (treestack.Entry, error) {
	stack, err := t.finder.Stack()
	if err != nil {
		return treestack.Entry{}, err
	}
	below, ok := stack.Below()
	if !ok {
		return treestack.Entry{}, errMissing
	}
	dir, base, err := treestack.OpenParent(below, name)
	if err != nil {
		return treestack.Entry{}, err
	}
	t.linked.Close()
	t.linked = dir
	return dir.Find(base)
}

// find finds the file of a name, and remembers that the tar names it.
func (t *layerTree) find(name string) (e treestack.Entry, at location, err error) {
	e, at, err = t.locate(name)
	if err == nil {
		t.namedLocations[at] = true
	}
	return e, at, err
}

// locate finds the file of a name, and where it is.
func (t *layerTree) locate(name string) (e treestack.Entry, at location, err error) {
	e, err = t.finder.Find(name)
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOENT):
		return e, at, errMissing
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return e, at, fmt.Errorf("%w, because its path leads through a file", errMissing)
	default:
		return e, at, err
	}
	dir, err := fsat.StatFD(e.Dir)
	return e, location{fsat.InodeOf(dir), e.Name}, err
}

var errMissing = errors.New("is missing")
