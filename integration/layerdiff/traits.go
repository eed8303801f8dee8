package layerdiff

import (
	"archive/tar"
	"path"
	"strings"
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
	replacedDir bool // R1: a directory, and another kind of entry of its name after it
	lateMark    bool // W1, W3: an opaque marker or whiteout after other entries
}

// findTraits returns what a stack has.
func findTraits(s Stack) (t traits) {
	deleted := false
	for i, l := range s {
		whiteouts, dirs, made := map[string]bool{}, map[string]bool{}, map[string]bool{}
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
				deletes = true
			case strings.HasPrefix(base, ".wh."):
				whiteouts[base[len(".wh."):]] = true
				deletes = true
			case e.Typeflag == tar.TypeDir:
				dirs[base], made[base] = true, true
			case e.Typeflag == tar.TypeSymlink:
				t.symlinks = true
			case e.Typeflag == tar.TypeLink:
				t.links = true
			}
			t.replacedDir = t.replacedDir || e.Typeflag != tar.TypeDir && made[base]
			t.lateMark = t.lateMark || n > 0 && strings.HasPrefix(base, ".wh.")
		}
		for name := range whiteouts {
			t.remadeDir = t.remadeDir || dirs[name]
		}
		t.opaqueBelow = t.opaqueBelow || implied && deleted
		deleted = deleted || deletes
	}
	return t
}
