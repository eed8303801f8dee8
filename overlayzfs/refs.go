package overlayzfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// refs counts the users of each mounted layer.
//
// The kernel knows what is mounted, but not for how many: a container and the
// commit of it share one mount, and when the process dies in between, dockerd
// gives back both. So each user but the first, which the mount itself shows, is
// also noted in a file, one byte for each Get and Put; appending a byte cannot
// be cut in half. A count that is too high
// costs a mount that stays until its layer is removed, one that is too low
// takes a container's root away; where they disagree, the higher one is taken.
type refs struct {
	home   home
	mu     sync.Mutex
	counts map[string]int
}

const (
	noteGet = "+"
	notePut = "-"
)

// recover replaces all counts by what is mounted and what was noted.
func (r *refs) recover() error {
	return r.rebuild(func(id string) int { return 1 + max(0, r.noted(id)) })
}

// restart forgets the users of before. Who mounted what is still mounted will
// also put it, so that it counts as one.
func (r *refs) restart() error {
	return r.rebuild(func(id string) int {
		r.clear(id)
		return 1
	})
}

func (r *refs) rebuild(count func(id string) int) error {
	mounted, err := mountedLayers(r.home)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	notes, err := os.ReadDir(r.home.own(refsName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, note := range notes {
		if !mounted[note.Name()] {
			r.clear(note.Name())
		}
	}
	r.counts = make(map[string]int, len(mounted))
	for id := range mounted {
		r.counts[id] = count(id)
	}
	return nil
}

// add takes a reference.
func (r *refs) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[id]++; r.counts[id] > 1 {
		r.note(id, noteGet)
	}
}

// drop gives a reference back and returns what is left, never below zero.
func (r *refs) drop(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.counts[id]--; {
	case r.counts[id] <= 0:
		delete(r.counts, id)
		return 0
	case r.counts[id] == 1:
		r.clear(id)
	default:
		r.note(id, notePut)
	}
	return r.counts[id]
}

// forget drops all references of a layer.
func (r *refs) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.counts, id)
	r.clear(id)
}

// note, noted and clear keep a count on disk. On a full dataset that fails, and
// is less important than what is being done.

func (r *refs) note(id, what string) {
	f, err := os.OpenFile(r.home.own(refsName, id), os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		_, err = f.WriteString(what)
		err = errors.Join(err, f.Close())
	}
	warnRefs(id, err)
}

func (r *refs) noted(id string) int {
	raw, err := os.ReadFile(r.home.own(refsName, id))
	if !errors.Is(err, fs.ErrNotExist) {
		warnRefs(id, err)
	}
	return strings.Count(string(raw), noteGet) - strings.Count(string(raw), notePut)
}

func (r *refs) clear(id string) {
	warnRefs(id, unlinkIfThere(r.home.own(refsName, id)))
}

func warnRefs(id string, err error) {
	if err != nil {
		logrus.WithError(err).WithField("layer", id).Warn("its number of users is not on disk")
	}
}

// mountedLayers returns the IDs of the layers that are mounted. A managed
// plugin's mounts can stand in the table more than once.
func mountedLayers(h home) (map[string]bool, error) {
	infos, err := mount.ListBelow(string(h))
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
