package layerdiff

import (
	"archive/tar"
	"maps"
	"path"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// traits are what a stack has of the rows of decision 9 in which drivers differ. They look
// at base names only, because symlinks give directories other paths: a stack may have a
// trait without need, and is compared with fewer drivers then.
type traits struct {
	remadeDir   bool // W2: a whiteout, and a directory of its name in the same layer
	opaqueBase  bool // W5: an opaque marker in the base
	opaqueBelow bool // A4: an implied directory, and an opaque marker or deletion in a layer below
	symlinks    bool // N6: the naive drivers follow those of layers below
	links       bool // L1: the naive drivers link to files of layers below
	replacedDir bool // R1: a directory, named or implied, and another kind of entry of its name
	lateMark    bool // W1, W3: an opaque marker or whiteout after other entries
	deletedBase bool // W3, W4: a whiteout in the base, of a name that the base has brought
	implied     bool // A4: a directory without an entry
	setGroupID  bool // A4: directories whose bit moby's drivers pass on to implied ones
	opaqueFile  bool // W5: an opaque marker in the place of a lower file, where vfs keeps the file
	dirAgain    bool // R1: a directory in the place of the layer's own file, which has hidden a lower one from vfs
	oddLinks    bool // L6: hard links that overlay2 gives no attributes: to symlinks, or by an unclean path
	capableLink bool // L9: hard links, and a file with capabilities
	mobyHangs   bool // N4: a whiteout below a FIFO, which moby opens and waits for
}

// findTraits returns what a stack has.
func findTraits(s Stack) (t traits) {
	t.mobyHangs = hasMarkBelowFifo(s)
	deleted, below, capable := false, map[string]bool{}, false
	for i, l := range s {
		whiteouts, dirs, made, names := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
		files := map[string]bool{}
		implied, deletes := false, false
		for n, e := range l {
			name := path.Clean("/" + e.Name)[1:]
			dir, base := path.Split(name)
			for part := range strings.SplitSeq(dir, "/") {
				dirs[part] = true
			}
			implied = implied || dir != ""
			switch {
			case base == ".wh..wh..opq":
				t.opaqueBase = t.opaqueBase || i == 0
				t.opaqueFile = t.opaqueFile || below[path.Base(dir)]
				deletes = true
			case strings.HasPrefix(base, ".wh."):
				t.deletedBase = t.deletedBase || i == 0 && (names[base[len(".wh."):]] || dirs[base[len(".wh."):]])
				whiteouts[base[len(".wh."):]] = true
				deletes = true
			case e.Typeflag == tar.TypeChar && e.Devmajor == 0 && e.Devminor == 0:
				t.deletedBase = t.deletedBase || i == 0
				t.lateMark = true
				whiteouts[base], deletes = true, true
			case e.Typeflag == tar.TypeDir:
				t.dirAgain = t.dirAgain || files[base]
				dirs[base], made[base] = true, true
			case e.Typeflag == tar.TypeSymlink:
				t.symlinks = true
			case e.Typeflag == tar.TypeLink:
				t.links = true
				t.oddLinks = t.oddLinks || e.Linkname != path.Clean(e.Linkname) || path.IsAbs(e.Linkname) || strings.HasPrefix(e.Linkname, "..")
			}
			capable = capable || e.PAXRecords["SCHILY.xattr."+layertar.Capabilities] != ""
			t.replacedDir = t.replacedDir || e.Typeflag != tar.TypeDir && (made[base] || dirs[base])
			if !strings.HasPrefix(base, ".wh.") {
				names[base] = true
				if e.Typeflag != tar.TypeDir {
					files[base] = true
				}
			}
			t.setGroupID = t.setGroupID || e.Typeflag == tar.TypeDir && e.Mode&0o2000 != 0
			t.lateMark = t.lateMark || n > 0 && strings.HasPrefix(base, ".wh.")
		}
		for name := range whiteouts {
			t.remadeDir = t.remadeDir || dirs[name]
		}
		maps.Copy(below, files)
		t.implied = t.implied || implied
		t.opaqueBelow = t.opaqueBelow || implied && deleted
		deleted = deleted || deletes
	}
	t.oddLinks = t.oddLinks || t.links && t.symlinks
	t.capableLink = t.links && capable
	return t
}

// hasMarkBelowFifo reports whether the directory of a whiteout may be a FIFO, of this layer or
// one below. Any link may lead to one.
func hasMarkBelowFifo(s Stack) bool {
	fifo, maybe := false, map[string]bool{}
	for _, l := range s {
		for _, e := range l {
			switch e.Typeflag {
			case tar.TypeFifo:
				fifo, maybe[path.Base(e.Name)] = true, true
			case tar.TypeSymlink, tar.TypeLink:
				maybe[path.Base(e.Name)] = true
			}
			if strings.HasPrefix(path.Base(e.Name), ".wh.") && fifo && maybe[path.Base(path.Dir(e.Name))] {
				return true
			}
		}
	}
	return false
}

// loosen returns what ours has in common with overlay2 alone, for tars that containerd refuses.
func (t traits) loosen(o treecmp.Options) treecmp.Options {
	if t.implied { // A4, A7
		o.Xattrs = func(name string) bool { return !strings.HasPrefix(name, "system.") && name != layertar.Capabilities }
	}
	return o
}
