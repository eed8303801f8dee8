package verify

import (
	"archive/tar"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// entries is the tree of a layer's tar. Of entries with the same name it has the last.
type entries struct {
	root node
	all  []*entry // in the tar's order, with those that others replaced
	// lost is the first reason why the record cannot give its tar again, or "".
	lost string
	// replaced is the name of the first entry that replaces a link or what links may name, or "".
	// The link has done something that no other entry tells: to its target's owner, to what came
	// by its path.
	replaced string
	linked   bool    // there was a hard link
	replayed *replay // what replay made, once it was called
	// byChecksum says that the content of files is compared with the record's checksums.
	byChecksum bool
}

// node is a name in the tree. It has no entry when the tar names only files below.
type node struct {
	*entry
	below map[string]*node
}

// entry is an entry of the tar.
type entry struct {
	header *tar.Header
	name   string // clean
	number int    // in the tar's order
	xattrs map[string]string
	opaque bool       // a directory with overlayfs's own mark
	file   fsat.Inode // the entry's file, once checkEntry has found it
	// content is the record's checksum of the file's content.
	content checksum
}

// checksum is that of a file's content. A file without content has none.
type checksum struct {
	size int64
	sum  uint64
}

func newEntries() *entries { return &entries{} }

// add adds an entry of the record.
func (e *entries) add(r dockerstore.TarEntry) error {
	if len(r.Header.Name) > maxName {
		return fault.New(fault.UnsafeInput, "the tar has a name of %d bytes, longer than %d", len(r.Header.Name), maxName)
	}
	kind, _, err := whiteout.Classify(rebuild.CleanName(r.Header.Name))
	switch {
	case err != nil:
		return err
	case r.Sparse:
		e.lose("the tar has a sparse file", r)
	case r.Size > 0 && fileTypes[r.Header.Typeflag] != unix.S_IFREG:
		e.lose("the tar has a size on an entry without content", r)
	case r.Size > 0 && kind != whiteout.None:
		e.lose("the tar has content in the mark of a deletion", r)
	}
	e.addEntry(r.Header, checksum{r.Size, r.Checksum})
	return nil
}

// lose remembers why the record cannot give its tar again.
func (e *entries) lose(why string, r dockerstore.TarEntry) {
	if e.lost == "" {
		e.lost = fmt.Sprintf("%s (%.200q)", why, r.Header.Name)
	}
}

// maxName bounds the length of names, because each part takes a node in the tree.
const maxName = 32 << 10

// typeVolumeLabel is GNU tar's entry with the archive's label, which is no file.
const typeVolumeLabel = 'V'

// addEntry adds an entry. A directory merges with an earlier one of the same name; any
// other entry replaces everything below.
func (e *entries) addEntry(header *tar.Header, content checksum) {
	name := rebuild.CleanName(header.Name)
	if header.Typeflag == tar.TypeXGlobalHeader || header.Typeflag == typeVolumeLabel || name == "." {
		return
	}
	n, through := e.makeNode(name)
	if through && e.linked || e.replacesLink(n, header) {
		e.replaced = cmp.Or(e.replaced, header.Name)
	}
	e.linked = e.linked || header.Typeflag == tar.TypeLink
	next := &entry{header: header, name: name, number: len(e.all) + 1, xattrs: comparedXattrs(header), content: content}
	next.opaque = header.Typeflag == tar.TypeDir && overlayfs.IsOpaque([]byte(header.PAXRecords[paxXattr+overlayfs.OpaqueXattr]))
	if header.Typeflag != tar.TypeDir {
		if len(n.below) > 0 && e.lost == "" {
			e.lost = fmt.Sprintf("an entry of the tar replaces a directory (%.200q)", header.Name)
		}
		n.below = nil
	} else if n.entry != nil && n.header.Typeflag == tar.TypeDir {
		merged := maps.Clone(n.xattrs)
		maps.Copy(merged, next.xattrs)
		next.xattrs = merged
		next.opaque = next.opaque || n.opaque
	} else if n.entry != nil && n.isWhiteoutDevice() {
		next.opaque = true // the directory hides what the whiteout has hidden
	}
	n.entry = next
	e.all = append(e.all, next)
}

// replacesLink reports whether a new entry at a node replaces a link, or what a hard link may name.
func (e *entries) replacesLink(n *node, header *tar.Header) bool {
	isDir := header.Typeflag == tar.TypeDir
	if header.Typeflag == tar.TypeLink && len(n.below) > 0 { // it may name what is below
		return true
	}
	if n.entry != nil && (isLink(n.header) || header.Typeflag == tar.TypeLink || e.linked && (!isDir || n.header.Typeflag != tar.TypeDir)) {
		return true
	}
	return !isDir && (e.linked && len(n.below) > 0 || n.holdsLink())
}

func isLink(h *tar.Header) bool { return h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink }

// holdsLink reports whether a link is below the node.
func (n *node) holdsLink() bool {
	for _, below := range n.below {
		if below.entry != nil && isLink(below.header) || below.holdsLink() {
			return true
		}
	}
	return false
}

// isWhiteoutDevice reports whether the entry is a whiteout in overlayfs's form.
func (e *entry) isWhiteoutDevice() bool {
	return e.header.Typeflag == tar.TypeChar && e.header.Devmajor == 0 && e.header.Devminor == 0
}

// makeNode returns the node of a name. It reports whether the name leads through the entry of a
// file, which a directory replaces.
func (e *entries) makeNode(name string) (n *node, through bool) {
	n = &e.root
	for part := range strings.SplitSeq(name, "/") {
		if n.entry != nil && n.header.Typeflag != tar.TypeDir && n.header.Typeflag != tar.TypeSymlink {
			through = true
		}
		if n.below == nil {
			n.below = map[string]*node{}
		}
		next, ok := n.below[part]
		if !ok {
			next = &node{}
			n.below[part] = next
		}
		n = next
	}
	return n, through
}

// findEntry returns the entry of a path, or nil.
func (e *entries) findEntry(name string) *entry {
	n := &e.root
	for part := range strings.SplitSeq(name, "/") {
		next, ok := n.below[part]
		if !ok {
			return nil
		}
		n = next
	}
	return n.entry
}

// sortedEntries returns the entries in the order of the tar.
func (e *entries) sortedEntries() []*entry {
	var all []*entry
	var collect func(*node)
	collect = func(n *node) {
		if n.entry != nil {
			all = append(all, n.entry)
		}
		for _, below := range n.below {
			collect(below)
		}
	}
	collect(&e.root)
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	return all
}
