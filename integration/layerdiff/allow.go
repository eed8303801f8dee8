package layerdiff

import (
	"maps"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// allowance is what another driver's tree may have different from ours, property by property.
// Each function says it of a path.
type allowance struct {
	extra    func(path string) bool       // it has what ours lacks
	lacks    func(path string) bool       // it lacks what ours has
	kind     func(path string) bool       // it has a file of another type
	dirs     func(path string) bool       // mode, owner and attributes of a directory
	dirTime  func(path string) bool       // the time of a directory
	files    func(path string) bool       // mode, owner, time and attributes of a file with a name like this
	fileTime func(path string) bool       // the time of such a file
	names    func(path string) bool       // whether it is a name of a file with several
	xattr    func(path, attr string) bool // an attribute
}

func never(string) bool  { return false }
func always(string) bool { return true }

// allowAgainst returns what a driver that unpacks into overlayfs layers may have different.
func (t traits) allowAgainst(overlay2 bool) allowance {
	base := func(n names) func(string) bool {
		return func(path string) bool { return n[baseName(path)] }
	}
	a := allowance{
		extra:    t.remade.lead,                                                                              // W2
		lacks:    func(p string) bool { return t.marked.hold(p) || t.opaqueBase.lead(p) },                    // W3, W4, W5
		kind:     t.marked.hold,                                                                              // W3
		dirTime:  func(p string) bool { return t.implied.hold(p) || t.replaced.hold(p) || t.remade.hold(p) }, // A4, R1
		files:    never,
		fileTime: base(t.replaced), // R1
	}
	a.dirs = func(p string) bool {
		return t.implied.hold(p) && (overlay2 || t.symlinks || t.deletes || t.remade.hold(p) || t.opaqueBase.hold(p) || t.marked.hold(p)) // A4, N6
	}
	if overlay2 {
		a.files = base(t.linked) // L6
	}
	if t.moved {
		a.extra, a.lacks = always, always
	}
	a.names = func(p string) bool { return a.extra(p) || a.lacks(p) }
	a.xattr = func(p, attr string) bool {
		switch {
		case attr == layertar.Capabilities:
			return t.linked[baseName(p)] || overlay2 && t.implied.hold(p) // L9, A4
		case strings.HasPrefix(attr, "system."):
			return overlay2 && t.implied.hold(p) // A7
		}
		return false
	}
	return a
}

// allowAgainstVFS returns what moby's vfs may have different.
func (t traits) allowAgainstVFS() allowance {
	a := t.allowAgainst(true)
	a.extra = func(p string) bool { return t.opaqueGone.hold(p) || t.opaqueLink.lead(p) || t.rerouted.lead(p) } // W5; W1; W2: as ours
	a.lacks = func(p string) bool {
		return t.marked.hold(p) || t.late.hold(p) || t.opaqueBase.lead(p) || t.opaqueLink.hold(p) || t.lateOpaque.lead(p) || t.dirAgain.lead(p) || t.opaqueFile.hold(p)
	}
	if t.moved {
		a.extra, a.lacks = always, always
	}
	a.kind = func(p string) bool { return t.marked.hold(p) || t.late.hold(p) || t.opaqueFile.hold(p) }
	a.names = func(p string) bool { return a.lacks(p) || t.linked[baseName(p)] } // L1
	a.xattr = func(string, string) bool { return true }                          // vfs copies only some from layer to layer
	a.dirs = func(p string) bool {
		return t.late.hold(p) || t.implied.hold(p) && (t.setGroupID || t.lateOpaque.hold(p) || t.marked.hold(p) || t.opaqueBase.hold(p)) // W1, A4
	}
	return a
}

func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// apply returns the other's tree with our values where it may differ.
func (a allowance) apply(ours, other *treecmp.Tree) *treecmp.Tree {
	same := &treecmp.Tree{}
	for _, e := range other.Entries {
		o, ok := ours.Find(e.Path)
		switch {
		case !ok && (a.extra(e.Path) || isWhiteoutEntry(e)):
		case !ok:
			same.Entries = append(same.Entries, e)
		case o.Type != e.Type && a.kind(e.Path):
			same.Entries = append(same.Entries, o)
		default:
			same.Entries = append(same.Entries, a.equalize(o, e))
		}
	}
	for _, o := range ours.Entries {
		if _, ok := other.Find(o.Path); !ok && a.lacks(o.Path) {
			same.Entries = append(same.Entries, o)
		}
	}
	slices.SortFunc(same.Entries, func(x, y *treecmp.Entry) int { return strings.Compare(x.Path, y.Path) })
	return same
}

// isWhiteoutEntry reports whether an entry is a whiteout device (W4), which a driver without an
// overlay shows.
func isWhiteoutEntry(e *treecmp.Entry) bool {
	return e.Type == treecmp.Char && e.Major == 0 && e.Minor == 0
}

// equalize returns a copy of the other's entry with our values where it may differ.
func (a allowance) equalize(ours, other *treecmp.Entry) *treecmp.Entry {
	e := *other
	all := slices.Concat(ours.Names, other.Names, []string{ours.Path})
	isDir := ours.Type == treecmp.Dir
	if isDir && a.dirs(e.Path) || !isDir && slices.ContainsFunc(all, a.files) {
		e.Mode, e.UID, e.GID, e.Xattrs = ours.Mode, ours.UID, ours.GID, ours.Xattrs
	}
	if isDir && a.dirTime(e.Path) || !isDir && (slices.ContainsFunc(all, a.fileTime) || slices.ContainsFunc(all, a.files)) {
		e.MTime = ours.MTime
	}
	others := func(names []string) []string { return slices.DeleteFunc(slices.Clone(names), a.names) }
	if left, right := others(ours.Names), others(e.Names); slices.Equal(left, right) || len(left) <= 1 && len(right) <= 1 {
		e.Names = ours.Names
	}
	e.Xattrs = maps.Clone(e.Xattrs)
	for _, xattrs := range []map[string]string{ours.Xattrs, other.Xattrs} {
		for attr := range xattrs {
			if !slices.ContainsFunc(all, func(p string) bool { return a.xattr(p, attr) }) {
				continue
			}
			delete(e.Xattrs, attr)
			if value, ok := ours.Xattrs[attr]; ok {
				if e.Xattrs == nil {
					e.Xattrs = map[string]string{}
				}
				e.Xattrs[attr] = value
			}
		}
	}
	return &e
}
