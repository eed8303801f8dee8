package verify

import (
	"archive/tar"
	"cmp"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// entries is the tree of a layer's tar. Of entries with the same name it has the last.
type entries struct {
	root  node
	count int // how many entries were
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
	ino    uint64 // of the entry's file, once checkEntry has found it
}

func newEntries() *entries { return &entries{} }

// readAll reads all entries of a tar, and the input to its end.
func (e *entries) readAll(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		if len(header.Name) > maxName {
			return fault.New(fault.UnsafeInput, "the tar has a name of %d bytes, longer than %d", len(header.Name), maxName)
		}
		e.addEntry(header)
	}
}

// maxName bounds the length of names, because each part takes a node in the tree.
const maxName = 32 << 10

// addEntry adds an entry. A directory merges with an earlier one of the same name; any
// other entry replaces everything below.
func (e *entries) addEntry(header *tar.Header) {
	name := cleanPath(header.Name)
	if header.Typeflag == tar.TypeXGlobalHeader || name == "." {
		return
	}
	e.count++
	n := e.makeNode(name)
	next := &entry{header: header, name: name, number: e.count, xattrs: comparedXattrs(header)}
	if header.Typeflag != tar.TypeDir {
		n.below = nil
	} else if n.entry != nil && n.header.Typeflag == tar.TypeDir {
		merged := maps.Clone(n.xattrs)
		maps.Copy(merged, next.xattrs)
		next.xattrs = merged
	}
	n.entry = next
}

// cleanPath returns a path of the tar relative to the layer's root.
func cleanPath(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }

func (e *entries) makeNode(name string) *node {
	n := &e.root
	for part := range strings.SplitSeq(name, "/") {
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
	return n
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
