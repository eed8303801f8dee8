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

// FromTar describes the content of a root file system's tar.
func FromTar(r io.Reader) (*Tree, error) { return FromLayers(r) }

// FromLayers describes what a stack of layer tars gives, the base first. It
// knows the rules of the format and nothing of any file system, and so is a
// judge of both.
func FromLayers(layers ...io.Reader) (*Tree, error) {
	s := make(stack)
	for i, layer := range layers {
		if err := s.apply(layer); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return s.tree(), nil
}

// Stack yields the tree after every layer. It calls see with the number of the
// layer, the base being 0.
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

// stack is a tree in the making: what each raw path names. Hard links share
// one Entry, whose path means nothing.
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

// apply puts a layer on top. The order of a whiteout and of what replaces it
// means nothing, so the former come first.
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
		e, err := s.entryOf(header, in, own)
		if err != nil {
			return fmt.Errorf("%s: %w", Escape(header.Name), err)
		}
		own[name] = e
		added = append(added, named{name, e})
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // what follows the end is part of the layer's digest
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

// entryOf makes an entry of a header. A hard link's is that of its target,
// which the layer itself has, or in an odd tar a layer below.
func (s stack) entryOf(header *tar.Header, content io.Reader, own stack) (*Entry, error) {
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
		for _, place := range []stack{own, s} {
			if target, ok := place[clean(header.Linkname)]; ok {
				return target, nil
			}
		}
		return nil, fmt.Errorf("a hard link to %s, which is not there", Escape(header.Linkname))
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
		if !ok || hidden(name) {
			continue
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[Escape(name)] = hex.EncodeToString([]byte(header.PAXRecords[key]))
	}
	return found
}
