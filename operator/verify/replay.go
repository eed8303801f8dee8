package verify

import (
	"archive/tar"
	"path"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// replay is a tree in memory into which the entries of a tar are put, one after another, along the
// tar's own symlinks. It tells what entries do to each other.
type replay struct {
	root *replayed
	// replaced is an entry that takes the place of another one, or of what was implied, where a
	// symlink leads one of the two, or "".
	replaced string
	// deletes is a mark that deletes what came before it, or "".
	deletes string
	places  map[*entry]string // where entries are
	names   map[string]*entry // marks by what they delete: whiteouts
	content map[string]*entry // opaque markers
	steps   int               // along paths
}

// replayed is a file of the tree.
type replayed struct {
	below   map[string]*replayed // of a directory
	symlink string               // a symlink's target
	through bool                 // a symlink led an entry here
}

func (r *replayed) isDir() bool { return r.below != nil }

// holdsThrough reports whether a symlink led an entry to a file, or to one below it.
func (r *replayed) holdsThrough() bool {
	if r.through {
		return true
	}
	for _, below := range r.below {
		if below.holdsThrough() {
			return true
		}
	}
	return false
}

// maxLinks bounds how many symlinks a path leads through, as the kernel does (MAXSYMLINKS in
// include/linux/namei.h, Linux 6.12).
const maxLinks = 40

// maxSteps bounds the work: symlinks can make the path of each entry as long as they like.
const maxSteps = 20_000_000

// replay puts all entries into a tree, once.
func (e *entries) replay() *replay {
	if e.replayed != nil {
		return e.replayed
	}
	r := &replay{&replayed{below: map[string]*replayed{}}, "", "", map[*entry]string{}, map[string]*entry{}, map[string]*entry{}, 0}
	e.replayed = r
	for _, one := range e.all {
		switch kind, target, err := whiteout.Classify(one.name); {
		case err != nil || kind == whiteout.Metadata:
		case kind == whiteout.None:
			r.put(one)
		default:
			r.delete(one, kind, target)
		}
	}
	return r
}

// position is where a path leads in the tree.
type position struct {
	dir     *replayed
	path    string // of dir
	name    string // in dir
	through bool   // a symlink led there
}

func (p position) String() string { return path.Join(p.path, p.name) }

// find follows a name, but no symlink at its end, and makes the directories that it implies.
func (r *replay) find(name string) (p position, ok bool) {
	type step struct {
		dir  *replayed
		path string
	}
	start := step{r.root, "."}
	at := []step{start}
	rest := strings.Split(path.Dir(name), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if r.steps++; r.steps > maxSteps {
			return p, false
		}
		here := at[len(at)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			at = at[:max(len(at)-1, 1)]
			continue
		}
		next := here.dir.below[part]
		switch {
		case next == nil || !next.isDir() && next.symlink == "":
			if next != nil && (next.through || p.through) {
				r.replaced = name
			}
			next = &replayed{below: map[string]*replayed{}, through: p.through}
			here.dir.below[part] = next
		case !next.isDir():
			if links++; links > maxLinks {
				return p, false // nothing was unpacked there
			}
			p.through = true
			if path.IsAbs(next.symlink) {
				at = at[:1]
			}
			rest = append(strings.Split(next.symlink, "/"), rest...)
			continue
		}
		at = append(at, step{next, path.Join(here.path, part)})
	}
	last := at[len(at)-1]
	p.dir, p.path, p.name = last.dir, last.path, path.Base(name)
	return p, true
}

// put puts an entry into the tree.
func (r *replay) put(e *entry) {
	p, ok := r.find(e.name)
	if !ok {
		r.replaced = e.name
		return
	}
	r.places[e] = p.String()
	old := p.dir.below[p.name]
	isDir := e.header.Typeflag == tar.TypeDir
	if old != nil && old.isDir() && isDir {
		old.through = old.through || p.through
		return
	}
	if old != nil && (p.through || old.holdsThrough()) {
		r.replaced = e.name
	}
	made := &replayed{through: p.through}
	switch e.header.Typeflag {
	case tar.TypeDir:
		made.below = map[string]*replayed{}
	case tar.TypeSymlink:
		made.symlink = e.header.Linkname
	case tar.TypeLink:
		if to, ok := r.find(rebuild.CleanName(e.header.Linkname)); ok {
			if target := to.dir.below[to.name]; target != nil && !target.isDir() {
				made = target
				made.through = made.through || p.through
			}
		}
	}
	p.dir.below[p.name] = made
}

// delete notes what a mark deletes.
func (r *replay) delete(mark *entry, kind whiteout.Kind, target string) {
	if kind == whiteout.Opaque {
		target += "/" + whiteout.OpaqueMarker // the symlink at its end is followed
	}
	p, ok := r.find(target)
	switch {
	case !ok:
	case kind == whiteout.Opaque:
		r.content[p.path] = mark
		if len(p.dir.below) > 0 {
			r.deletes = mark.name
		}
	default:
		r.names[p.String()] = mark
		if p.dir.below[p.name] != nil {
			r.deletes = mark.name
		}
	}
}

// findDeletion returns the mark that deletes the entry of a name later, or "". Without a name, or
// where a hard link of the tar may be deleted, it is one that deletes anything.
func (r *replay) findDeletion(e *entries, name string) string {
	own := e.findEntry(name)
	if name == "" || e.linked || r.deletes == "" {
		return r.deletes
	}
	number, place := 0, name
	if own != nil {
		number = own.number
		if at, ok := r.places[own]; ok {
			place = at
		}
	}
	if mark := r.findMark(place, number); mark != "" || place == name {
		return mark
	}
	return r.findMark(name, number) // of a symlink on its path
}

// findMark returns the mark after a number that deletes a place, or "".
func (r *replay) findMark(place string, number int) string {
	follows := func(mark *entry) bool { return mark != nil && mark.number > number }
	for at := place; at != "."; at = path.Dir(at) {
		if mark := r.names[at]; follows(mark) {
			return mark.name
		}
		if mark := r.content[path.Dir(at)]; follows(mark) {
			return mark.name
		}
	}
	return ""
}
