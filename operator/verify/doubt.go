package verify

import (
	"archive/tar"
	"errors"
	"fmt"

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
	why := t.findDoubt(name)
	if why == "" {
		return err
	}
	return rebuild.Unproven{Err: fmt.Errorf("%w; but %s, so the names do not tell", err, why)}
}

// findDoubt says what leaves a difference open, or "".
func (t *layerTree) findDoubt(name string) string {
	if first := t.entries.replaced; first != "" {
		return fmt.Sprintf("an entry of the tar replaces a link (%.200q)", first)
	}
	if t.isBase() && t.entries.linksToReplaced(name) {
		return "the entry that the hard link names was replaced by a later one"
	}
	r := t.entries.replay()
	if r.replaced != "" {
		return fmt.Sprintf("a symlink of the tar leads one of its entries to another's place (%.200q)", r.replaced)
	}
	if mark := r.findDeletion(t.entries, name); t.isBase() && mark != "" {
		return fmt.Sprintf("a later entry of the tar deletes what it has (%.200q), and engines differ in a first layer", mark)
	}
	if other := t.findCollision(); other != "" {
		return fmt.Sprintf("a symlink leads one entry of the tar to another's place (%.200q)", other)
	}
	return ""
}

// linksToReplaced reports whether a name is a hard link to what no entry names. A first layer has no
// other files, so a later entry has taken that one's place.
func (e *entries) linksToReplaced(name string) bool {
	own := e.findEntry(name)
	return own != nil && own.header.Typeflag == tar.TypeLink && e.findEntry(rebuild.CleanName(own.header.Linkname)) == nil
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
