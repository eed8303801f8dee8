package layerdiff

import (
	"archive/tar"
	"maps"
	"path"
	"strings"
)

// names are base names. A path is judged by the names on it, because symlinks give a
// directory other paths. The empty name stands for the root, and all paths lead through it.
type names map[string]bool

// hold reports whether one of the names is on the path.
func (n names) hold(p string) bool { return n[path.Base(p)] || n.lead(p) }

// lead reports whether one of the names is a directory on the path.
func (n names) lead(p string) bool {
	if n[""] {
		return true
	}
	for part := range strings.SplitSeq(path.Dir(p), "/") {
		if n[part] {
			return true
		}
	}
	return false
}

// add adds each name of a path. A path that climbs may lead anywhere.
func (n names) add(p string) {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			part = ""
		}
		if part != "." && (part != "" || p == "/") {
			n[part] = true
		}
	}
}

// traits are the names in a stack in which the rows of decision 9 let drivers differ.
type traits struct {
	remade     names // W2: directories of which the layer has a whiteout, too
	marked     names // W3, W4: what whiteouts in the base name
	late       names // W1: what a whiteout after other entries names
	lateOpaque names // W1: directories of opaque markers after other entries
	opaqueBase names // W5: directories of opaque markers in the base
	opaqueLink names // W5: where symlinks lead markers after other entries
	opaqueFile names // W5: directories of opaque markers in the place of a lower file
	opaqueGone names // W5: directories of opaque markers that the layer has deleted
	dirAgain   names // R1: directories in the place of the layer's own file
	replaced   names // R1: what replaces a directory, named or implied
	implied    names // A4: directories without an entry in a layer
	linked     names // L1, L6, L9: hard links and their targets
	deletes    bool  // A4: a layer with a deletion is below one with an implied directory
	symlinks   bool  // N3, N6
	followed   bool  // N6: an entry's path leads through a symlink of a layer below
	setGroupID bool  // A4: moby's drivers pass the bit on to implied directories
	rerouted   names // W1: symlinks that a later whiteout names: what comes by their paths is below a directory for others
	moved      bool  // W3: the base deletes a symlink that climbs; what comes by its path later is elsewhere
	mobyHangs  bool  // N4: a whiteout below a FIFO, which moby opens and waits for
}

// traitFinder finds the traits of a stack, layer by layer.
type traitFinder struct {
	traits
	links   map[string]string // the targets of symlinks, by base name
	paths   map[string]string // the same by path
	below   names             // files of the layers below
	deleted bool              // a layer below has a deletion

	base                                 bool
	whiteouts, made, parents, files, any names           // of the layer so far
	dirs                                 map[string]bool // paths of the layer's directories; false for what has replaced one
	implies, hides                       bool
}

// findTraits returns what a stack has.
func findTraits(s Stack) traits {
	f := traitFinder{links: map[string]string{}, paths: map[string]string{}, below: names{}}
	for _, n := range []*names{&f.remade, &f.marked, &f.rerouted, &f.late, &f.lateOpaque, &f.opaqueBase, &f.opaqueLink, &f.opaqueFile, &f.opaqueGone, &f.dirAgain, &f.replaced, &f.implied, &f.linked} {
		*n = names{}
	}
	f.mobyHangs = hasMarkBelowFifo(s)
	for i, l := range s {
		f.base = i == 0
		f.addLayer(l)
	}
	maps.Copy(f.opaqueLink, f.lateOpaque)
	f.follow(f.opaqueLink)
	maps.DeleteFunc(f.opaqueLink, func(name string, _ bool) bool { return f.lateOpaque[name] })
	for _, n := range []names{f.remade, f.lateOpaque, f.opaqueBase, f.opaqueFile, f.opaqueGone, f.dirAgain, f.implied} {
		f.follow(n)
	}
	return f.traits
}

func (f *traitFinder) addLayer(l Layer) {
	f.whiteouts, f.made, f.parents, f.files, f.any = names{}, names{}, names{}, names{}, names{}
	f.dirs, f.implies, f.hides = map[string]bool{}, false, false
	lower := len(f.links) > 0
	lowerLinks := names{}
	for name := range f.links {
		lowerLinks[name] = true
	}
	for _, e := range l {
		name := path.Clean("/" + e.Name)[1:]
		if isDir := e.Typeflag == tar.TypeDir; isDir || f.dirs[name] {
			f.dirs[name] = isDir
		}
		dir, base := path.Split(name)
		if target, ok := strings.CutPrefix(base, ".wh."); ok && f.base && f.dirs[dir+target] {
			f.dirs[dir+target] = false // W3: what comes back is implied
		}
		f.followed = f.followed || lower && (lowerLinks.lead(name) || e.Typeflag == tar.TypeLink && lowerLinks.lead(path.Clean("/" + e.Linkname)[1:]))
	}
	for n, e := range l {
		f.addEntry(n, e)
	}
	for name := range f.whiteouts {
		if f.made[name] || f.parents[name] {
			f.remade[name] = true
		}
	}
	for name := range f.files {
		f.below[name] = true
	}
	f.deletes = f.deletes || f.implies && f.deleted
	f.deleted = f.deleted || f.hides
}

// addEntry adds an entry to the traits of its layer.
func (f *traitFinder) addEntry(n int, e Entry) {
	name := path.Clean("/" + e.Name)[1:]
	dir, base := path.Split(name)
	f.addParents(strings.TrimSuffix(dir, "/"))
	marks := strings.HasPrefix(base, ".wh.")
	switch {
	case base == ".wh..wh..opq":
		f.addOpaque(n, path.Base("/"+dir))
	case marks || isWhiteoutDevice(e):
		target := strings.TrimPrefix(base, ".wh.")
		f.whiteouts[target], f.hides = true, true
		if f.base {
			f.addMarked(target)
		}
		if n > 0 || !marks {
			f.addLate(target)
		}
	case e.Typeflag == tar.TypeDir:
		if f.files[base] {
			f.dirAgain[base] = true
		}
		f.made[base] = true
		f.setGroupID = f.setGroupID || e.Mode&0o2000 != 0
	case e.Typeflag == tar.TypeSymlink:
		f.symlinks, f.links[base] = true, e.Linkname
		f.paths[name] = e.Linkname
	case e.Typeflag == tar.TypeLink:
		f.linked[base], f.linked[path.Base(e.Linkname)] = true, true
		if f.whiteouts[path.Base(e.Linkname)] { // L5
			f.whiteouts[base] = true
			if f.base {
				f.addMarked(base)
			}
		}
	}
	if marks || e.Typeflag == tar.TypeDir {
		return
	}
	f.files[base] = true
	if f.made[base] || f.parents[base] {
		f.replaced[base] = true
		if e.Typeflag == tar.TypeSymlink { // a directory's time reaches what its path leads to now
			for made := range f.made {
				f.replaced[made] = true
			}
			f.replaced.add(e.Linkname)
		}
	}
}

// addMarked adds a name that a whiteout in the base deletes, with the symlinks in there: what
// comes by their paths later is elsewhere.
func (f *traitFinder) addMarked(target string) {
	f.marked[target] = true
	for link, leads := range f.paths {
		if f.marked.hold(link) {
			f.marked.add(leads)
			f.moved = f.moved || strings.Contains(leads, "..")
		}
	}
}

// addLate adds a name that a whiteout after other entries deletes for naive drivers, with the
// symlinks in there.
func (f *traitFinder) addLate(target string) {
	f.late[target] = true
	for link, leads := range f.paths {
		if f.late.hold(link) {
			f.rerouted[path.Base(link)] = true
			f.late.add(leads)
		}
	}
}

// addParents adds the directories of an entry. Those without an entry of their own are implied.
func (f *traitFinder) addParents(dir string) {
	for ; dir != "" && dir != "."; dir = path.Dir(dir) {
		f.parents[path.Base(dir)] = true
		if !f.dirs[dir] {
			f.implied[path.Base(dir)], f.implies = true, true
		}
	}
}

// addOpaque adds an opaque marker of a directory.
func (f *traitFinder) addOpaque(n int, dir string) {
	dir = strings.Trim(dir, "/")
	f.hides = true
	if f.base {
		f.opaqueBase[dir] = true
	}
	if n > 0 {
		f.lateOpaque[dir] = true
	}
	if f.below[dir] {
		f.opaqueFile[dir] = true
	}
	if f.whiteouts[dir] {
		f.opaqueGone[dir] = true
	}
}

// follow adds to names of directories where symlinks of these names lead.
func (f *traitFinder) follow(n names) {
	for known := -1; known < len(n); {
		known = len(n)
		for name, target := range f.links {
			if n[name] {
				n.add(target)
			}
		}
	}
}

func isWhiteoutDevice(e Entry) bool {
	return e.Typeflag == tar.TypeChar && e.Devmajor == 0 && e.Devminor == 0
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

// mayRefuse reports whether the plugin may refuse what others take, by N4 or L2: the refused
// path or link leads through what a mark in the base has deleted for the others, or through
// what they show again.
func (t traits) mayRefuse(err error) bool {
	text := err.Error()
	if !strings.Contains(text, "hard link to") && !strings.Contains(text, "on the way") && !strings.Contains(text, "not a directory") {
		return false
	}
	for i, part := range strings.Split(text, `"`) {
		if i%2 == 1 && (t.marked.hold(part) || t.remade.hold(part) || t.opaqueBase.lead(part)) {
			return true
		}
	}
	return false
}
