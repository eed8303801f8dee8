package verify

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// doubt returns a difference of a name as Unproven where entries of the tar work on each other,
// so that the names alone do not tell what the tar made. The name is empty for what the tar does
// not name.
func (t *layerTree) doubt(name string, err error) error {
	if err == nil || errors.As(err, new(rebuild.Unproven)) {
		return err
	}
	why := t.findDoubt(name, errors.Is(err, errMissing))
	if why == "" {
		return err
	}
	return rebuild.Unproven{Err: fmt.Errorf("%w; but %s, so the names do not tell", err, why)}
}

// findDoubt says what leaves a difference open, or "".
func (t *layerTree) findDoubt(name string, missing bool) string {
	if first := t.entries.replaced; first != "" {
		return fmt.Sprintf("an entry of the tar replaces a link (%.200q)", first)
	}
	if other := t.entries.findReplacedOnPath(name); missing && other != "" {
		return fmt.Sprintf("by a symlink of the tar its path leads to another entry (%.200q)", other)
	}
	if other := t.entries.findAlias(name); other != "" {
		return fmt.Sprintf("by a symlink of the tar another entry leads there (%.200q)", other)
	}
	if mark := t.entries.findLaterDeletion(name); t.isBase() && mark != "" {
		return fmt.Sprintf("a later entry of the tar deletes it (%.200q), and engines differ in a first layer", mark)
	}
	if other := t.findCollision(); other != "" {
		return fmt.Sprintf("a symlink leads one entry of the tar to another's place (%.200q)", other)
	}
	return ""
}

// findReplacedOnPath returns the entry that a name, or a directory on its path, is by the tar's
// own symlinks, where one of the two has taken the other's place, or "".
func (e *entries) findReplacedOnPath(name string) string {
	own := e.findEntry(name)
	if own == nil {
		return ""
	}
	real, other := e.resolve(name, own.number)
	if other == "" && real != name && e.findEntry(real) != nil {
		return real
	}
	return other
}

// findAlias returns an entry that the tar's symlinks lead to the place of a name, or of a directory
// on its path, or "". Without a name it is an entry that leads to any other one's place.
func (e *entries) findAlias(name string) string {
	e.collectAliases()
	if name == "" {
		return e.anyAlias
	}
	for at := 1; at <= len(name); at++ {
		if at < len(name) && name[at] != '/' {
			continue
		}
		if other := e.aliases[name[:at]]; other != "" {
			return other
		}
	}
	return ""
}

// collectAliases looks at all entries once.
func (e *entries) collectAliases() {
	if e.aliases != nil {
		return
	}
	e.aliases = map[string]string{}
	for _, other := range e.sortedEntries() {
		real, _ := e.resolve(other.name, other.number)
		if real == "" || real == other.name {
			continue
		}
		e.aliases[real] = other.name
		if e.findEntry(real) != nil {
			e.anyAlias = other.name
		}
	}
}

// resolve follows the symlinks of the tar on the path of a name whose entry has a number. other is
// an entry on the path that is no directory, or a later symlink; real is empty then.
func (e *entries) resolve(name string, number int) (real, other string) {
	var dir []string
	rest := strings.Split(path.Dir(name), "/")
	for links := 0; len(rest) > 0 && links <= maxLinks; {
		part := rest[0]
		rest = rest[1:]
		next := append(slices.Clone(dir), part)
		switch part {
		case "", ".":
			continue
		case "..":
			dir = dir[:max(len(dir)-1, 0)]
			continue
		}
		on := e.findEntry(strings.Join(next, "/"))
		switch {
		case on == nil || on.header.Typeflag == tar.TypeDir:
			dir = next
		case on.number > number || on.header.Typeflag != tar.TypeSymlink:
			return "", on.name
		default:
			links++
			if path.IsAbs(on.header.Linkname) {
				dir = nil
			}
			rest = append(strings.Split(on.header.Linkname, "/"), rest...)
		}
	}
	return strings.Join(append(dir, path.Base(name)), "/"), ""
}

// maxLinks bounds how many symlinks a path leads through, as the kernel does (MAXSYMLINKS in
// include/linux/namei.h, Linux 6.12).
const maxLinks = 40

// deletions are the marks of a tar, by what they delete: each the last of its name.
type deletions struct {
	names map[string]*entry // whiteouts
	dirs  map[string]*entry // opaque markers: what is in a directory
}

// collectDeletions looks at all entries once.
func (e *entries) collectDeletions() *deletions {
	if e.deletions != nil {
		return e.deletions
	}
	e.deletions = &deletions{map[string]*entry{}, map[string]*entry{}}
	for _, mark := range e.sortedEntries() {
		kind, target, err := whiteout.Classify(mark.name)
		if err != nil || kind != whiteout.Whiteout && kind != whiteout.Opaque {
			continue
		}
		of := e.deletions.names
		if kind == whiteout.Opaque {
			of = e.deletions.dirs
		}
		of[target] = mark
		if real, _ := e.resolve(target, mark.number); real != "" {
			of[real] = mark
		}
	}
	return e.deletions
}

// find returns the mark that covers a name and follows the entry of a number, or nil.
func (d *deletions) find(name string, number int) *entry {
	follows := func(mark *entry) bool { return mark != nil && mark.number > number }
	if mark := d.dirs["."]; follows(mark) {
		return mark
	}
	for at := 1; at <= len(name); at++ {
		if at < len(name) && name[at] != '/' {
			continue
		}
		if mark := d.names[name[:at]]; follows(mark) {
			return mark
		}
		if mark := d.dirs[name[:at]]; at < len(name) && follows(mark) {
			return mark
		}
	}
	return nil
}

// findLaterDeletion returns the mark of a deletion that follows a name and covers it, or a hard
// link of the tar or what that names, or "".
func (e *entries) findLaterDeletion(name string) string {
	all := e.collectDeletions()
	number := 0
	if own := e.findEntry(name); own != nil {
		number = own.number
	}
	if mark := all.find(name, number); name != "" && mark != nil {
		return mark.name
	}
	if !e.linked || len(all.names)+len(all.dirs) == 0 {
		return ""
	}
	for _, link := range e.sortedEntries() {
		if link.header.Typeflag != tar.TypeLink {
			continue
		}
		for _, deleted := range []string{link.name, rebuild.CleanName(link.header.Linkname)} {
			if mark := all.find(deleted, link.number); mark != nil {
				return mark.name
			}
		}
	}
	return ""
}

// place is where entries lead.
type place struct {
	name     string // the first that leads there
	several  bool   // others do, too
	replaces bool   // one of them is no directory
}

// findCollision returns an entry of the tar that a symlink leads to the place of another one,
// where one of the two replaces the other, or "". It looks once.
func (t *layerTree) findCollision() string {
	if t.collision == nil {
		found := t.searchCollision()
		t.collision = &found
	}
	return *t.collision
}

func (t *layerTree) searchCollision() string {
	places := map[location]place{}
	for _, e := range t.entries.sortedEntries() {
		kind, target, err := whiteout.Classify(e.name)
		switch {
		case err != nil || kind == whiteout.Metadata || kind == whiteout.Opaque:
			continue
		case kind == whiteout.None:
			target = e.name
		}
		for at := 1; at <= len(target); at++ {
			if at < len(target) && target[at] != '/' {
				continue
			}
			_, where, err := t.locate(target[:at])
			if err != nil {
				break
			}
			p, ok := places[where]
			if !ok {
				p.name = target[:at]
			}
			p.several = p.several || p.name != target[:at]
			p.replaces = p.replaces || at == len(target) && (kind == whiteout.Whiteout || e.header.Typeflag != tar.TypeDir)
			if p.several && p.replaces {
				return e.name
			}
			places[where] = p
		}
	}
	return ""
}
