package overlayzfs

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// shortLength is the length of a short link's name in overlay2's format.
const shortLength = 26

var shortPattern = regexp.MustCompile(`^[A-Z0-9]{26}$`)

// newShort returns a fresh name for a short link.
func newShort() string {
	raw := make([]byte, shortLength)
	rand.Read(raw) // never fails: crypto/rand ends the process instead
	return base32.StdEncoding.EncodeToString(raw)[:shortLength]
}

// readShort reads the short link's name from a layer's directory, which may
// also be one that is being made or removed.
func readShort(dir string) (string, error) {
	path := filepath.Join(dir, linkName)
	raw, err := fsat.ReadSmall(path)
	if err != nil {
		return "", err
	}
	if !shortPattern.Match(raw) {
		return "", fault.New(fault.Invalid, "%s does not hold a short link's name but %.40q: the layer is damaged", path, raw)
	}
	return string(raw), nil
}

// require fails when the layer does not exist.
func (l layer) require(what string) error {
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

// lowers are the short links below the layer, nearest first, relative to the
// home; none for a base layer.
func (l layer) lowers() ([]string, error) {
	path := l.home.path(l.id, lowerName)
	raw, err := fsat.ReadSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lowers := strings.Split(string(raw), ":")
	for _, lower := range lowers {
		short, ok := strings.CutPrefix(lower, linkDir+"/")
		if !ok || !shortPattern.MatchString(short) {
			return nil, fault.New(fault.Invalid, "%s names %.40q, which is no short link: the layer is damaged", path, lower)
		}
	}
	return lowers, nil
}

// stack is the layer and all below it: what a child stands on.
func (l layer) stack() ([]string, error) {
	short, err := readShort(l.dir())
	if err != nil {
		return nil, err
	}
	lowers, err := l.lowers()
	if err != nil {
		return nil, err
	}
	if len(lowers)+1 > mount.MaxLowers {
		return nil, fault.NewWithRemedy(fault.LimitReached, "layer %s already stands on %d others; the kernel stacks at most %d", l.id, len(lowers), mount.MaxLowers)
	}
	return append([]string{linkDir + "/" + short}, lowers...), nil
}

// lowerDirs resolves the short links below the layer.
func (l layer) lowerDirs() ([]string, error) {
	lowers, err := l.lowers()
	if err != nil {
		return nil, err
	}
	dirs := make([]string, len(lowers))
	for i, lower := range lowers {
		target, err := os.Readlink(l.home.path(lower))
		if err != nil {
			return nil, err
		}
		if _, ok := linked(target); !ok {
			return nil, fault.New(fault.Invalid, "%s leads to %.80q, which is no layer: the store is damaged", l.home.path(lower), target)
		}
		dirs[i] = l.home.path(linkDir, target)
	}
	return dirs, nil
}

// standsOn reports whether parent is the layer directly below l.
func (l layer) standsOn(parent string) (bool, error) {
	lowers, err := l.lowers()
	if err != nil || parent == "" {
		return len(lowers) == 0, err
	}
	if len(lowers) == 0 {
		return false, nil
	}
	short, err := readShort(l.home.layer(parent).dir())
	return lowers[0] == linkDir+"/"+short, err
}
