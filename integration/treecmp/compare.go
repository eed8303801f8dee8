package treecmp

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Options say what two trees must have in common. The zero value compares everything
// but times and counts of links.
type Options struct {
	// MTimes compares modification times to the second.
	MTimes bool
	// MTimesBefore compares the times of entries that are older than this in either
	// tree: copied files, not those that each run makes.
	MTimesBefore time.Time
	// LooseTimes lists paths whose times are not compared.
	LooseTimes []string
	// LooseDirTimes ignores the times of directories.
	LooseDirTimes bool
	// Links compares the number of links, which may count names that a layer hides.
	// Names of one file in the tree are always compared.
	Links bool
	// LooseLinks lists paths whose hard links are not compared.
	LooseLinks []string
	// Xattrs selects the attributes that are compared; nil is all.
	Xattrs func(name string) bool
	// Ignore lists paths that are omitted with everything below.
	Ignore []string
}

// Compare lists the differences, sorted by path, each in a line with a's value first.
// It compares the root when both trees have it.
func Compare(a, b *Tree, o Options) []string {
	c := &comparison{Options: o}
	i, j := 0, 0
	for i < len(a.Entries) || j < len(b.Entries) {
		switch {
		case j == len(b.Entries) || i < len(a.Entries) && a.Entries[i].Path < b.Entries[j].Path:
			c.reportUnpaired("first", a.Entries[i])
			i++
		case i == len(a.Entries) || b.Entries[j].Path < a.Entries[i].Path:
			c.reportUnpaired("second", b.Entries[j])
			j++
		default:
			c.compareEntries(a.Entries[i], b.Entries[j])
			i++
			j++
		}
	}
	return c.found
}

type comparison struct {
	Options
	found []string
}

func (c *comparison) isIgnored(path string) bool {
	return slices.ContainsFunc(c.Ignore, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

func (c *comparison) reportUnpaired(which string, e *Entry) {
	if e.Path != "." && !c.isIgnored(e.Path) {
		c.found = append(c.found, fmt.Sprintf("%s: only in the %s: %s, mode %04o, %d:%d", e.Path, which, e.Type, e.Mode, e.UID, e.GID))
	}
}

func (c *comparison) compareEntries(a, b *Entry) {
	if c.isIgnored(a.Path) {
		return
	}
	c.differ(a.Path, "type", a.Type, b.Type)
	if a.Type != b.Type {
		return
	}
	if a.Type != Symlink { // Linux has no modes of symlinks
		c.differ(a.Path, "mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode))
	}
	c.differ(a.Path, "owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID))
	c.differ(a.Path, "size", a.Size, b.Size)
	c.differ(a.Path, "content", a.Sum, b.Sum)
	c.differ(a.Path, "target", a.Target, b.Target)
	c.differ(a.Path, "device", fmt.Sprintf("%d:%d", a.Major, a.Minor), fmt.Sprintf("%d:%d", b.Major, b.Minor))
	c.links(a, b)
	c.xattrs(a, b)
	if c.timed(a) || c.timed(b) {
		c.differ(a.Path, "mtime", a.MTime.Truncate(time.Second), b.MTime.Truncate(time.Second))
	}
}

func (c *comparison) timed(e *Entry) bool {
	if c.LooseDirTimes && e.Type == Dir || slices.Contains(c.LooseTimes, e.Path) {
		return false
	}
	return c.MTimes || e.MTime.Before(c.MTimesBefore)
}

func (c *comparison) links(a, b *Entry) {
	if slices.Contains(c.LooseLinks, a.Path) {
		return
	}
	c.differ(a.Path, "hard links", strings.Join(a.Names, " = "), strings.Join(b.Names, " = "))
	if c.Links {
		c.differ(a.Path, "number of links", a.Links, b.Links)
	}
}

func (c *comparison) xattrs(a, b *Entry) {
	names := maps.Clone(a.Xattrs)
	if names == nil {
		names = make(map[string]string)
	}
	maps.Copy(names, b.Xattrs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if c.Xattrs == nil || c.Xattrs(name) {
			c.differ(a.Path, name, valueOr(a.Xattrs, name), valueOr(b.Xattrs, name))
		}
	}
}

func valueOr(m map[string]string, name string) string {
	if value, ok := m[name]; ok {
		return "0x" + value
	}
	return "absent"
}

func (c *comparison) differ(path, what string, a, b any) {
	if a != b {
		c.found = append(c.found, fmt.Sprintf("%s: %s: %v | %v", path, what, a, b))
	}
}
