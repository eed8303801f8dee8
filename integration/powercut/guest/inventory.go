package guest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ownDir is the driver's own, in a store of overlayzfs.
const ownDir = ".overlayzfs"

// inventory names all that lies in the store besides what every store has: see
// the host's strangers.
func (s *store) inventory() ([]string, error) {
	names, err := s.layerNames()
	if err != nil {
		return nil, err
	}
	for _, more := range []func() ([]string, error){s.deadLinks, s.ownNames, s.childDatasets} {
		found, err := more()
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	return names, nil
}

func (s *store) layerNames() ([]string, error) {
	return s.named("", "layer ", func(name string) bool { return name != "l" && name != ownDir })
}

// named lists a directory of the store.
func (s *store) named(dir, prefix string, which func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.home, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		if which(entry.Name()) {
			names = append(names, prefix+entry.Name())
		}
	}
	return names, err
}

// deadLinks are short links that lead to no layer.
func (s *store) deadLinks() ([]string, error) {
	return s.named("l", "link ", func(name string) bool {
		_, err := os.Stat(filepath.Join(s.home, "l", name))
		return errors.Is(err, fs.ErrNotExist)
	})
}

// ownNames are the driver's notes about what is unfinished or in use. Nothing
// is, when nothing is mounted.
func (s *store) ownNames() ([]string, error) {
	var names []string
	dirs, err := s.named(ownDir, "", func(name string) bool { return name != "format.json" })
	for _, dir := range dirs {
		place := filepath.Join(ownDir, dir)
		found, listing := s.named(place, place+"/", func(string) bool { return true })
		names, err = append(names, found...), errors.Join(err, listing)
	}
	return names, err
}

// childDatasets are those that a driver may make for a container with a limit.
// Its name ends in the container's.
func (s *store) childDatasets() ([]string, error) {
	out, err := command("zfs", "list", "-H", "-r", "-o", "name", s.dataset)
	var names []string
	for name := range strings.SplitSeq(out, "\n") {
		if below, ok := strings.CutPrefix(name, s.dataset+"/"); ok {
			names = append(names, "dataset "+filepath.Base(below))
		}
	}
	return names, err
}
