package overlayzfs

import (
	"path/filepath"
)

// The names that overlay2 gives to what it keeps, and that we keep with it.
const (
	linkDir       = "l"
	diffName      = "diff"
	linkName      = "link"
	lowerName     = "lower"
	workName      = "work"
	mergedName    = "merged"
	committedName = "committed"
)

// Ours live in one directory that overlay2 never looks into.
const (
	ownDir       = ".overlayzfs"
	formatName   = "format.json"
	newName      = "new"      // layers being made, by short link
	applyName    = "apply"    // content being unpacked, by layer ID
	buildingName = "building" // markers, by layer ID
	mutableName  = "mutable"  // markers, by layer ID
	trashName    = "trash"    // layers being removed, by short link
	refsName     = "refs"     // users of mounted layers, by layer ID
	storeName    = "store"    // the store's own name
	engineName   = "engine"   // token of the engine whose Init came last
	bootName     = "boot"     // the boot of the host that last opened the store
	limitsName   = "limits"   // records of package quota, by short link
	doorName     = "door"     // whose layers these are; absent: a graphdriver's
	recordsName  = "records"  // of doors that keep theirs here, by door

	newSuffix = ".new" // of a file that is being written
)

// home is the root of a store.
type home string

func (h home) path(parts ...string) string {
	return filepath.Join(append([]string{string(h)}, parts...)...)
}

func (h home) own(parts ...string) string {
	return h.path(append([]string{ownDir}, parts...)...)
}

func (h home) building(id string) string { return h.own(buildingName, id) }
func (h home) mutable(id string) string  { return h.own(mutableName, id) }
func (h home) applying(id string) string { return h.own(applyName, id) }

// layer is the place of one layer in a store; it says nothing of whether the
// layer exists.
type layer struct {
	home home
	id   string
}

func (h home) layer(id string) layer { return layer{h, id} }

func (l layer) dir() string       { return l.home.path(l.id) }
func (l layer) diff() string      { return l.home.path(l.id, diffName) }
func (l layer) work() string      { return l.home.path(l.id, workName) }
func (l layer) merged() string    { return l.home.path(l.id, mergedName) }
func (l layer) committed() string { return l.home.path(l.id, committedName) }
