package quota

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// No released OpenZFS limits the number of files of a dataset, only of single
// users, groups and projects in it. So the files of mounted layers that have
// such a limit are counted here, and one that is over it has its space frozen
// until files go away. ZFS counts once a transaction group, so a container can
// be ahead of its limit by what it makes in one (five seconds). Without such a
// layer nothing runs.

// inodeTick is how often mounted layers with a limit are looked at: one statfs
// each.
const inodeTick = 250 * time.Millisecond

// inodes counts the files on the layer's dataset while it is mounted, as of the
// last transaction group.
func (d *datasets) inodes(p Place) (uint64, error) {
	return countInodes(filepath.Join(p.Dir, UpperName))
}

func countInodes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %q: %w", dir, err)
	}
	return st.Files - st.Ffree, nil
}

// inodeWatch holds mounted layers to their number of files.
type inodeWatch struct {
	count        func(Place) (uint64, error)
	freeze, thaw func(Place, Record) error

	mu     sync.Mutex
	layers map[string]*watched
	stop   chan struct{} // closes when the last layer goes; nil when none is watched
}

type watched struct {
	Place
	Record
	frozen bool
}

// add begins to watch a layer that has a limit on its files.
func (w *inodeWatch) add(p Place, r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Inodes == 0 || w.layers[p.Key] != nil {
		return
	}
	w.layers[p.Key] = &watched{Place: p, Record: r}
	if w.stop == nil {
		w.stop = make(chan struct{})
		go w.run(w.stop)
	}
}

// remove ends the watching of a layer; its space is thawed.
func (w *inodeWatch) remove(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.layers[key]; l != nil && l.frozen {
		w.change(l, false)
	}
	delete(w.layers, key)
	if len(w.layers) == 0 && w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

// update takes a layer's new limits, which were just put in force.
func (w *inodeWatch) update(p Place, r Record) {
	w.mu.Lock()
	l := w.layers[p.Key]
	if l != nil && r.Inodes > 0 {
		l.Record, l.frozen = r, false
	}
	w.mu.Unlock()
	switch {
	case l != nil && r.Inodes == 0:
		w.remove(p.Key)
	case l == nil:
		w.add(p, r)
	}
}

// close ends all watching and leaves what is frozen frozen: the containers are
// still there, and the next start puts the recorded limit in force again.
func (w *inodeWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.layers)
	if w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

func (w *inodeWatch) run(stop <-chan struct{}) {
	ticker := time.NewTicker(inodeTick)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			w.look()
		}
	}
}

func (w *inodeWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.layers {
		used, err := w.count(l.Place)
		if err != nil {
			logrus.WithError(err).WithField("layer", l.Layer).Warn("its files cannot be counted")
			continue
		}
		if over := used >= l.Inodes; over != l.frozen {
			w.change(l, over)
		}
	}
}

// change freezes or thaws a layer. That is tried again at the next look.
func (w *inodeWatch) change(l *watched, freeze bool) {
	act := w.thaw
	if freeze {
		act = w.freeze
	}
	if err := act(l.Place, l.Record); err != nil {
		logrus.WithError(err).WithField("layer", l.Layer).Warn("its limit on the number of files cannot be kept")
		return
	}
	l.frozen = freeze
	logrus.WithFields(logrus.Fields{"layer": l.Layer, "limit": l.Inodes, "reached": freeze}).Info("limit on the number of files")
}
