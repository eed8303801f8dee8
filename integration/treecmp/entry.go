package treecmp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Types of an entry.
const (
	File    = "file"
	Dir     = "dir"
	Symlink = "symlink"
	Fifo    = "fifo"
	Socket  = "socket"
	Char    = "char"
	Block   = "block"
)

// Entry is everything known about a name. Path and Target are escaped (see Escape), so
// that JSON preserves all bytes.
type Entry struct {
	Path   string            `json:"path"` // relative; the root is "."
	Type   string            `json:"type"`
	Mode   uint32            `json:"mode"` // permissions, suid, sgid, sticky
	UID    int               `json:"uid"`
	GID    int               `json:"gid"`
	MTime  time.Time         `json:"mtime"`
	Size   int64             `json:"size,omitempty"`   // files
	Sum    string            `json:"sum,omitempty"`    // files: sha256
	Target string            `json:"target,omitempty"` // symlinks
	Major  uint32            `json:"major,omitempty"`  // devices
	Minor  uint32            `json:"minor,omitempty"`
	Links  uint64            `json:"links,omitempty"`  // all but directories
	Names  []string          `json:"names,omitempty"`  // the hard links' paths when the tree has several
	Xattrs map[string]string `json:"xattrs,omitempty"` // values in hexadecimal
}

// Tree is a description, with entries sorted by path.
type Tree struct {
	Entries []*Entry `json:"entries"`
}

// newTree sorts the entries and adds the names of hard links. group returns the key of
// an entry's file, and the zero K when it has none.
func newTree[K comparable](entries []*Entry, group func(*Entry) K) *Tree {
	slices.SortFunc(entries, func(a, b *Entry) int { return cmp.Compare(a.Path, b.Path) })
	var none K
	names := make(map[K][]string)
	for _, e := range entries {
		if key := group(e); key != none && e.Type != Dir {
			names[key] = append(names[key], e.Path)
		}
	}
	for _, e := range entries {
		if key := group(e); key != none && e.Type != Dir && len(names[key]) > 1 {
			e.Names = names[key]
		}
	}
	return &Tree{entries}
}

// Find returns the entry of an escaped path.
func (t *Tree) Find(path string) (*Entry, bool) {
	i, found := slices.BinarySearchFunc(t.Entries, path, func(e *Entry, path string) int { return cmp.Compare(e.Path, path) })
	if !found {
		return nil, false
	}
	return t.Entries[i], true
}

// Below lists the paths below a directory, at any depth.
func (t *Tree) Below(dir string) []string {
	var paths []string
	for _, e := range t.Entries {
		if strings.HasPrefix(e.Path, dir+"/") {
			paths = append(paths, e.Path)
		}
	}
	return paths
}

// Write writes the description as JSON.
func (t *Tree) Write(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	return out.Encode(t)
}

// Read reads a description that Write wrote.
func Read(r io.Reader) (*Tree, error) {
	t := new(Tree)
	if err := json.NewDecoder(r).Decode(t); err != nil {
		return nil, fmt.Errorf("a tree's description: %w", err)
	}
	return t, nil
}

// Escape makes a name printable: bytes that are not printable UTF-8, and the backslash,
// become \xHH.
func Escape(name string) string {
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && size <= 1 || !unicode.IsPrint(r) || r == '\\' {
			for i := range size {
				fmt.Fprintf(&b, `\x%02x`, name[i])
			}
		} else {
			b.WriteString(name[:size])
		}
		name = name[size:]
	}
	return b.String()
}

// isHidden reports whether an attribute belongs to the machine and not to the content.
func isHidden(xattr string) bool {
	return strings.HasPrefix(xattr, "trusted.overlay.") || xattr == "security.selinux"
}
