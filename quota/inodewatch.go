package quota

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
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

// inodeWatch holds mounted layers to their number of files.
type inodeWatch struct {
	count        func(Layer) (uint64, error)
	deleted      func(key string) func() uint64 // of those counted
	freeze, thaw func(Layer, Record) error

	mu     sync.Mutex
	layers map[string]*watched
	stop   chan struct{} // closes when the last layer goes; nil when none is watched
}

type watched struct {
	Layer
	Record
	frozen   bool
	frozenAt uint64        // the number of files it was last frozen with
	deleted  func() uint64 // how many of them are deleted already
	failing  bool          // which was said
}

// add begins to watch a layer that has a limit on its files.
func (w *inodeWatch) add(p Layer, r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Inodes == 0 || w.layers[p.Key] != nil {
		return
	}
	w.layers[p.Key] = &watched{Layer: p, Record: r, deleted: w.deleted(p.Key)}
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
		w.change(l, false, 0)
	}
	w.drop(key)
}

// has reports whether a layer is watched.
func (w *inodeWatch) has(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.layers[key] != nil
}

// forget ends the watching of a layer that is gone.
func (w *inodeWatch) forget(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(key)
}

func (w *inodeWatch) drop(key string) {
	delete(w.layers, key)
	if len(w.layers) == 0 {
		w.rest()
	}
}

func (w *inodeWatch) rest() {
	if w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

// set has a layer's new limits put in force, with no look between that could
// freeze it by the old ones. It thaws the layer; the next look judges anew.
func (w *inodeWatch) set(p Layer, r Record, apply func(Layer, Record) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := apply(p, r); err != nil {
		return err
	}
	if l := w.layers[p.Key]; l != nil {
		l.Record, l.frozen = r, false
	}
	if r.Inodes == 0 {
		w.drop(p.Key)
	}
	return nil
}

// close ends all watching and leaves what is frozen frozen: the containers are
// still there, and the next start puts the recorded limit in force again.
func (w *inodeWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.layers)
	w.rest()
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
		used, err := w.used(l)
		if err != nil {
			l.complain(err)
			continue
		}
		over := used >= l.Inodes
		if over != l.frozen || over && used > l.frozenAt {
			w.change(l, over, used)
		}
	}
}

// used counts a layer's files. What is deleted only matters near the limit.
func (w *inodeWatch) used(l *watched) (uint64, error) {
	used, err := w.count(l.Layer)
	if err != nil || used < l.Inodes {
		return used, err
	}
	return used - min(used, l.deleted()), nil
}

// change freezes or thaws a layer. That is tried again at the next look. One
// that came by more files since it was frozen is frozen anew, closer to what it
// holds.
func (w *inodeWatch) change(l *watched, freeze bool, used uint64) {
	act := w.thaw
	if freeze {
		act = w.freeze
	}
	if err := act(l.Layer, l.Record); err != nil {
		l.complain(err)
		return
	}
	l.failing = false
	if l.frozen != freeze {
		logrus.WithFields(logrus.Fields{"layer": l.Layer, "limit": l.Inodes, "reached": freeze}).Info("limit on the number of files")
	}
	l.frozen, l.frozenAt = freeze, used
}

// complain says once that something fails. It is tried with every look.
func (l *watched) complain(err error) {
	if !l.failing {
		logrus.WithError(err).WithField("layer", l.Layer).Warn("its limit on the number of files cannot be kept")
	}
	l.failing = true
}
