package treecmp

import (
	"archive/tar"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
)

// FromTar describes the tar of a root file system.
func FromTar(r io.Reader) (*Tree, error) { return FromLayers(r) }

// FromLayers describes a stack of layer tars, the base first. It follows the rules of
// the format without a file system, and so can judge any driver.
func FromLayers(layers ...io.Reader) (*Tree, error) {
	s := make(stack)
	for i, layer := range layers {
		if err := s.apply(layer); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return s.tree(), nil
}

// Stack calls see with the tree after every layer. The base has the number 0.
func Stack(layers []io.Reader, see func(n int, t *Tree) error) error {
	s := make(stack)
	for i, layer := range layers {
		err := s.apply(layer)
		if err == nil {
			err = see(i, s.tree())
		}
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}

// stack is a tree that grows by layers: it maps raw paths to entries. Hard links share
// an Entry, whose path is unused.
type stack map[string]*Entry

func (s stack) tree() *Tree {
	links := make(map[*Entry]uint64)
	for _, e := range s {
		links[e]++
	}
	origins := make(map[*Entry]*Entry, len(s))
	entries := make([]*Entry, 0, len(s))
	for name, origin := range s {
		e := *origin
		e.Path = Escape(name)
		if e.Type != Dir {
			e.Links = links[origin]
		}
		origins[&e] = origin
		entries = append(entries, &e)
	}
	return newTree(entries, func(e *Entry) *Entry { return origins[e] })
}

type named struct {
	path  string
	entry *Entry
}

// apply applies a layer. The order of a whiteout and its replacement in the tar means
// nothing, so whiteouts are applied first.
func (s stack) apply(r io.Reader) error {
	var added []named
	var removed, opaque []string
	own := make(stack)
	in := tar.NewReader(r)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name := clean(header.Name)
		dir, base := path.Split(name)
		if base == opaqueMark {
			opaque = append(opaque, path.Clean(dir))
			continue
		}
		if hides, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
			removed = append(removed, dir+hides)
			continue
		}
		e, err := s.makeEntry(header, in, own)
		if err != nil {
			return fmt.Errorf("%s: %w", Escape(header.Name), err)
		}
		own[name] = e
		added = append(added, named{name, e})
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // padding is part of the layer's digest
		return err
	}
	s.hide(removed, opaque)
	for _, n := range added {
		if n.entry.Type != Dir {
			s.removeBelow(n.path)
		}
		s[n.path] = n.entry
	}
	return nil
}

func (s stack) hide(removed, opaque []string) {
	for _, name := range removed {
		delete(s, name)
		s.removeBelow(name)
	}
	for _, name := range opaque {
		s.removeBelow(name)
	}
}

func (s stack) removeBelow(dir string) {
	if e, ok := s[dir]; ok && e.Type != Dir {
		return
	}
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	maps.DeleteFunc(s, func(name string, _ *Entry) bool { return name != "." && strings.HasPrefix(name, prefix) })
}

func clean(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }

// makeEntry makes an entry of a header. A hard link has its target's entry, from this
// layer or, in an odd tar, from a layer below.
func (s stack) makeEntry(header *tar.Header, content io.Reader, own stack) (*Entry, error) {
	e := &Entry{
		Mode: uint32(header.Mode) & 0o7777, UID: header.Uid, GID: header.Gid,
		MTime: header.ModTime.UTC(), Xattrs: paxXattrs(header),
	}
	switch header.Typeflag {
	case tar.TypeReg:
		e.Type, e.Size = File, header.Size
		var err error
		e.Sum, err = sumOf(content)
		return e, err
	case tar.TypeLink:
		for _, entries := range []stack{own, s} {
			if target, ok := entries[clean(header.Linkname)]; ok {
				return target, nil
			}
		}
		return nil, fmt.Errorf("a hard link to the missing file %s", Escape(header.Linkname))
	case tar.TypeDir:
		e.Type = Dir
	case tar.TypeSymlink:
		e.Type, e.Target = Symlink, Escape(header.Linkname)
	case tar.TypeFifo:
		e.Type = Fifo
	case tar.TypeChar, tar.TypeBlock:
		e.Type = Char
		if header.Typeflag == tar.TypeBlock {
			e.Type = Block
		}
		e.Major, e.Minor = uint32(header.Devmajor), uint32(header.Devminor)
	default:
		return nil, fmt.Errorf("unknown type %q", header.Typeflag)
	}
	return e, nil
}

func paxXattrs(header *tar.Header) map[string]string {
	var found map[string]string
	for _, key := range slices.Sorted(maps.Keys(header.PAXRecords)) {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok || isHidden(name) {
			continue
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[Escape(name)] = hex.EncodeToString([]byte(header.PAXRecords[key]))
	}
	return found
}
