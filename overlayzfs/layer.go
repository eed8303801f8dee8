package overlayzfs

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
)

// The names of overlay2's on-disk format. The store keeps them, so that a store of
// overlay2 becomes ours without a copy, and back.
const (
	linkDir       = "l"
	diffName      = "diff"
	linkName      = "link"
	lowerName     = "lower"
	workName      = "work"
	mergedName    = "merged"
	committedName = "committed"
)

// The driver's private files lie in one directory that overlay2 never looks into.
const (
	privateDir    = ".overlayzfs"
	formatFile    = "format.json"
	newDir        = "new"      // staging: layers being created, by short link
	applyDir      = "apply"    // staging: content being unpacked, by layer ID
	buildingDir   = "building" // marks, by layer ID
	mutableDir    = "mutable"  // marks, by layer ID
	trashDir      = "trash"    // layers being removed, by short link
	refsDir       = "refs"     // users of mounted layers, by layer ID
	storeNameFile = "store"    // the store's own name
	engineFile    = "engine"   // the token of the engine whose Init came last
	bootIDFile    = "boot"     // the boot of the host that last opened the store
	limitsDir     = "limits"   // records of package quota, by short link
	doorFile      = "door"     // the door that the store belongs to; absent: a graphdriver
	recordsDir    = "records"  // records of doors, by door

	newSuffix = ".new" // suffix of a file that is being written
)

// home is the root directory of a store.
type home string

func (h home) path(parts ...string) string {
	return filepath.Join(append([]string{string(h)}, parts...)...)
}

func (h home) privatePath(parts ...string) string {
	return h.path(append([]string{privateDir}, parts...)...)
}

func (h home) buildingMark(id string) string { return h.privatePath(buildingDir, id) }

func (h home) mutableMark(id string) string { return h.privatePath(mutableDir, id) }

func (h home) applyPath(id string) string { return h.privatePath(applyDir, id) }

// layer names one layer of a store. The layer need not exist.
type layer struct {
	home home
	id   string
}

func (h home) layer(id string) layer { return layer{h, id} }

func (l layer) dir() string { return l.home.path(l.id) }

func (l layer) diff() string { return l.home.path(l.id, diffName) }

func (l layer) work() string { return l.home.path(l.id, workName) }

func (l layer) merged() string { return l.home.path(l.id, mergedName) }

func (l layer) committed() string { return l.home.path(l.id, committedName) }

// maxID is the longest file name that a directory can hold (NAME_MAX).
const maxID = 255

// checkID refuses an ID that cannot name a layer's directory. Layers lie beside l/ and
// .overlayzfs/, and mount options contain their names.
func checkID(what, id string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "%s ID %.80q %s", what, id, why)
	}
	switch {
	case id == "":
		return bad("is empty")
	case len(id) > maxID:
		return bad("is longer than 255 bytes")
	case id == linkDir:
		return bad("is reserved for the directory of short links")
	case strings.ContainsRune("._-", rune(id[0])):
		return bad("does not begin with a letter or digit")
	case strings.ContainsFunc(id, notIDRune):
		return bad("has a character other than letters, digits, '_', '.' and '-'")
	}
	return nil
}

func notIDRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_.-", r)
}

// checkIDs checks the ID of a layer and of its parent. The parent may be empty.
func checkIDs(id, parent string) error {
	if err := checkID("layer", id); err != nil {
		return err
	}
	if parent == "" {
		return nil
	}
	if parent == id {
		return fault.New(fault.Invalid, "layer %s cannot be its own parent", id)
	}
	return checkID("parent", parent)
}

// shortLength is the length of a short link's name in overlay2's format.
const shortLength = 26

// NewShortName returns a random name for a short link, as overlay2 makes them.
func NewShortName() string {
	raw := make([]byte, shortLength)
	rand.Read(raw) // never fails: crypto/rand ends the process instead
	return base32.StdEncoding.EncodeToString(raw)[:shortLength]
}

// readShortName reads the name of a layer's short link from its directory. The
// directory may be in staging or in the trash.
func readShortName(dir string) (string, error) {
	path := filepath.Join(dir, linkName)
	raw, err := fsat.ReadSmallRegular(path)
	if err != nil {
		return "", err
	}
	if !quota.IsKey(string(raw)) {
		return "", fault.New(fault.Invalid, "the layer is damaged: %s contains %.40q, which is not the name of a short link", path, raw)
	}
	return string(raw), nil
}

// parseShortLink returns the layer that the target of a short link leads to.
func parseShortLink(target string) (id string, ok bool) {
	below, ok := strings.CutPrefix(target, "../")
	if !ok {
		return "", false
	}
	id, ok = strings.CutSuffix(below, "/"+diffName)
	return id, ok && checkID("layer", id) == nil
}

// requireExists returns a NotFound error when the layer does not exist.
func (l layer) requireExists(what string) error {
	exists, err := l.exists()
	if err == nil && !exists {
		err = fault.New(fault.NotFound, "%s %s does not exist in %s", what, l.id, l.home)
	}
	return err
}

func (l layer) exists() (bool, error) {
	fi, err := os.Lstat(l.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && fi.IsDir(), err
}

// readLowers returns the short links of all layers below, nearest first and relative to
// the home. A base layer has none.
func (l layer) readLowers() ([]string, error) {
	path := l.home.path(l.id, lowerName)
	raw, err := fsat.ReadSmallRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lowers := strings.Split(string(raw), ":")
	for _, lower := range lowers {
		short, ok := strings.CutPrefix(lower, linkDir+"/")
		if !ok || !quota.IsKey(short) {
			return nil, fault.New(fault.Invalid, "the layer is damaged: %s contains %.40q, which is not a short link", path, lower)
		}
	}
	return lowers, nil
}

// readStack returns the short links of the layer itself and of all layers below.
func (l layer) readStack() ([]string, error) {
	short, err := readShortName(l.dir())
	if err != nil {
		return nil, err
	}
	lowers, err := l.readLowers()
	return append([]string{linkDir + "/" + short}, lowers...), err
}

// stackForChild returns the lowers of a child: the layer itself and all layers below.
func (l layer) stackForChild() ([]string, error) {
	stack, err := l.readStack()
	if err == nil && len(stack) > mount.MaxLowers {
		err = fault.NewWithRemedy(fault.LimitReached, "layer %s already has %d layers below it; the kernel stacks at most %d", l.id, len(stack)-1, mount.MaxLowers)
	}
	return stack, err
}

// resolveLowers returns the directories of all layers below, nearest first.
func (l layer) resolveLowers() ([]string, error) {
	lowers, err := l.readLowers()
	if err != nil {
		return nil, err
	}
	dirs := make([]string, len(lowers))
	for i, lower := range lowers {
		id, err := l.home.resolveShortLink(lower)
		if err != nil {
			return nil, err
		}
		dirs[i] = l.home.layer(id).diff()
	}
	return dirs, nil
}

// readParent returns the layer directly below, or "" for a base layer.
func (l layer) readParent() (string, error) {
	lowers, err := l.readLowers()
	if err != nil || len(lowers) == 0 {
		return "", err
	}
	return l.home.resolveShortLink(lowers[0])
}

// resolveShortLink returns the layer that a short link, relative to the home, leads to.
func (h home) resolveShortLink(link string) (id string, err error) {
	target, err := os.Readlink(h.path(link))
	if err != nil {
		return "", err
	}
	id, ok := parseShortLink(target)
	if !ok {
		return "", fault.New(fault.Invalid, "the store is damaged: %s leads to %.80q, which is not a layer", h.path(link), target)
	}
	return id, nil
}

// hasParent reports whether parent is the layer directly below. An empty parent stands
// for no layer.
func (l layer) hasParent(parent string) (bool, error) {
	lowers, err := l.readLowers()
	if err != nil || parent == "" {
		return len(lowers) == 0, err
	}
	if len(lowers) == 0 {
		return false, nil
	}
	short, err := readShortName(l.home.layer(parent).dir())
	return lowers[0] == linkDir+"/"+short, err
}
