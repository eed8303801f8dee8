package overlayzfs

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// refs counts the users of each mounted layer. It is a cache of what the
// kernel knows: after a restart a mounted layer counts as one user, since who
// mounted it will also Put it.
type refs struct {
	mu     sync.Mutex
	counts map[string]*ref
}

// ref is the users of one layer.
type ref struct {
	held  int // asked for since the counts were recovered
	found int // mounted already then; its user may have been forgotten
}

// recover replaces all counts by what is mounted below the home.
func (r *refs) recover(h home) error {
	ids, err := mountedLayers(h)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts = make(map[string]*ref, len(ids))
	for id := range ids {
		r.counts[id] = &ref{found: 1}
	}
	return nil
}

// add takes a reference and returns the new count.
func (r *refs) add(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts[id]
	if c == nil {
		c = &ref{}
		r.counts[id] = c
	}
	c.held++
	return c.held + c.found
}

// drop gives a reference back and returns what is left, never below zero.
func (r *refs) drop(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts[id]
	switch {
	case c == nil:
		return 0
	case c.held > 0:
		c.held--
	default:
		c.found--
	}
	if c.held+c.found <= 0 {
		delete(r.counts, id)
		return 0
	}
	return c.held + c.found
}

// forget drops all references of a layer that is gone.
func (r *refs) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.counts, id)
}

// held returns how many hold the layer for certain.
func (r *refs) held(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.counts[id]; c != nil {
		return c.held
	}
	return 0
}

// mountedLayers returns the IDs of the layers that are mounted. A managed
// plugin's mounts can stand in the table more than once.
func mountedLayers(h home) (map[string]bool, error) {
	infos, err := mount.Below(string(h))
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, info := range infos {
		rel := strings.TrimPrefix(info.Mountpoint, string(h)+"/")
		id, name := filepath.Split(rel)
		id = strings.TrimSuffix(id, "/")
		if info.FSType == "overlay" && name == mergedName && checkID("layer", id) == nil {
			ids[id] = true
		}
	}
	return ids, nil
}
