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

// refCounts counts the users of each mounted layer.
//
// The kernel knows which layers are mounted, but not for how many users. A container and
// its commit share one mount, and dockerd gives back both after the process died. The
// mount itself stands for the first user. Each other Get and Put appends one byte to a
// file, which cannot be cut in half.
//
// A count that is too high costs a mount that stays until its layer is removed. A count
// that is too low unmounts a container's root. So the higher of two numbers wins.
type refCounts struct {
	home   home
	mu     sync.Mutex
	counts map[string]int
	files  map[string]bool // the layers that may have a file
}

const (
	getNote = "+"
	putNote = "-"
)

// rebuildFromDisk replaces all counts by the mount table and the files.
func (r *refCounts) rebuildFromDisk() error {
	return r.rebuild(func(id string) int { return 1 + max(0, r.readCount(id)) })
}

// resetToMounts forgets the users of the last session. A layer that is still mounted
// counts as one user, because its mounter will put it.
func (r *refCounts) resetToMounts() error {
	return r.rebuild(func(id string) int {
		r.removeCountFile(id)
		return 1
	})
}

func (r *refCounts) rebuild(count func(id string) int) error {
	mounted, err := mountedLayers(r.home)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	notes, err := os.ReadDir(r.home.privatePath(refsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.files = make(map[string]bool, len(notes))
	for _, note := range notes {
		r.files[note.Name()] = true
	}
	for _, note := range notes {
		if !mounted[note.Name()] {
			r.removeCountFile(note.Name())
		}
	}
	r.counts = make(map[string]int, len(mounted))
	for id := range mounted {
		r.counts[id] = count(id)
	}
	return nil
}

// add takes a reference.
func (r *refCounts) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[id]++; r.counts[id] > 1 {
		r.appendNote(id, getNote)
	}
}

// drop gives a reference back and returns the rest, never below zero.
func (r *refCounts) drop(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.counts[id]--; {
	case r.counts[id] <= 0:
		delete(r.counts, id)
		return 0
	case r.counts[id] == 1:
		r.removeCountFile(id)
	default:
		r.appendNote(id, putNote)
	}
	return r.counts[id]
}

// forget drops all references of a layer.
func (r *refCounts) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.counts, id)
	r.removeCountFile(id)
}

// appendNote appends a Get or a Put to the layer's file. On a full dataset that fails,
// and the call goes on.
func (r *refCounts) appendNote(id, what string) {
	r.files[id] = true
	f, err := os.OpenFile(r.home.privatePath(refsDir, id), os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		_, err = f.WriteString(what)
		err = errors.Join(err, f.Close())
	}
	warnCount(id, err)
}

// readCount returns the users in the layer's file.
func (r *refCounts) readCount(id string) int {
	raw, err := os.ReadFile(r.home.privatePath(refsDir, id))
	if !errors.Is(err, fs.ErrNotExist) {
		warnCount(id, err)
	}
	return strings.Count(string(raw), getNote) - strings.Count(string(raw), putNote)
}

// removeCountFile deletes the layer's file. Most layers have none.
func (r *refCounts) removeCountFile(id string) {
	if !r.files[id] {
		return
	}
	delete(r.files, id)
	warnCount(id, unlinkIfThere(r.home.privatePath(refsDir, id)))
}

func warnCount(id string, err error) {
	if err != nil {
		logrus.WithError(err).WithField("layer", id).Warn("cannot write the number of the layer's users: it is not exact after a restart of the plugin")
	}
}

// mountedLayers returns the IDs of the mounted layers. The mount table can list a managed
// plugin's mount more than once.
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
