package guest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// ownDir is the driver's own, in a store of overlayzfs.
	ownDir = ".overlayzfs"
	// doorRecords is what a door records, in it.
	doorRecords = "records"
)

const (
	// quietTime is how long a driver may go on in the background with what it
	// has begun: a dataset that was in use a moment ago stays busy for a while.
	quietTime = 20 * time.Second
	quietStep = 50 * time.Millisecond
)

// inventory names all that lies in the store besides what every store has: see
// the host's strangers. It waits for what goes away by itself.
func (s *store) inventory(ctx context.Context) ([]string, error) {
	limit := time.After(quietTime)
	poll := time.NewTicker(quietStep)
	defer poll.Stop()
	for {
		names, err := s.look(ctx)
		if err != nil || !slices.ContainsFunc(names, homeless) {
			return names, err
		}
		select {
		case <-poll.C:
		case <-limit:
			return names, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// homeless tells whether a name belongs to no layer that there is.
func homeless(name string) bool {
	what, id, _ := strings.Cut(name, " ")
	return what != "layer" && what != "mutable" && what != "apply" && len(id) < 64
}

func (s *store) look(ctx context.Context) ([]string, error) {
	layers, err := s.named("", func(name string) bool { return name != "l" && name != ownDir })
	if err != nil {
		return nil, err
	}
	of, names := s.owners(layers), prefixed("layer ", layers)
	if s.snapshots != nil {
		if of, names, err = s.matchRecords(ctx, layers); err != nil {
			return nil, err
		}
	}
	for _, more := range []func(owners) ([]string, error){s.deadLinks, s.listPrivateNames, s.childDatasets} {
		found, err := more(of)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	return names, nil
}

// owners are the layers by their short names.
type owners map[string]string

func (s *store) owners(layers []string) owners {
	found := make(owners)
	for _, id := range layers {
		if short, err := os.ReadFile(filepath.Join(s.home, id, "link")); err == nil {
			found[string(short)] = id
		}
	}
	return found
}

// of is the layer that a short name belongs to, or else the name itself.
func (o owners) of(short string) string {
	if id, ok := o[short]; ok {
		return id
	}
	return short
}

// named lists a directory of the store.
func (s *store) named(dir string, which func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.home, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		if which(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

func anyName(string) bool { return true }

func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = prefix + name
	}
	return all
}

// deadLinks are short links that lead to no layer.
func (s *store) deadLinks(owners) ([]string, error) {
	dead, err := s.named("l", func(name string) bool {
		// The link's target may be a link itself: a limited layer's leads to the mount
		// point that its dataset has while it is in use.
		target, err := os.Readlink(filepath.Join(s.home, "l", name))
		if err == nil {
			_, err = os.Lstat(filepath.Join(s.home, "l", target))
		}
		return err != nil
	})
	return prefixed("link ", dead), err
}

// lasting are the driver's notes about layers that stay as long as these: by
// short name of those with a limit, by ID of build steps. So does an empty
// directory in apply, by which a build step that never got content refuses a
// diff whose beginning went to the process before.
var lasting = []string{"limits", "mutable"}

func (s *store) isEmpty(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(s.home, dir))
	return err == nil && len(entries) == 0
}

// listPrivateNames returns the driver's notes about unfinished layers and layers in use. No
// layer is in use when nothing is mounted.
func (s *store) listPrivateNames(o owners) ([]string, error) {
	var names []string
	dirs, err := s.named(ownDir, func(name string) bool {
		info, err := os.Lstat(filepath.Join(s.home, ownDir, name))
		return err == nil && info.IsDir() && name != doorRecords // files are about the store
	})
	for _, dir := range dirs {
		path := filepath.Join(ownDir, dir)
		found, listing := s.named(path, anyName)
		err = errors.Join(err, listing)
		for _, name := range found {
			if slices.Contains(lasting, dir) || dir == "apply" && s.isEmpty(filepath.Join(path, name)) {
				names = append(names, dir+" "+o.of(name))
				continue
			}
			names = append(names, path+"/"+name)
		}
	}
	return names, err
}

// childDatasets are those that a driver may make for a container with a limit.
func (s *store) childDatasets(o owners) ([]string, error) {
	out, err := command("zfs", "list", "-H", "-r", "-o", "name", s.dataset)
	var names []string
	for name := range strings.SplitSeq(out, "\n") {
		if below, ok := strings.CutPrefix(name, s.dataset+"/"); ok {
			names = append(names, "dataset "+o.of(filepath.Base(below)))
		}
	}
	return names, err
}
