package quota

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// No released OpenZFS limits the number of files of a dataset, only of single
// users, groups and projects in it. So the files of mounted layers that have
// such a limit are counted here. The space of a layer at its limit is frozen
// until files go away. Without such a layer nothing runs.
//
// ZFS counts a dataset's files once a transaction group. What it counts at once
// is the objects created on all pools. A layer whose last count and all objects
// created since could reach its limit has its transaction group ended, which
// gives the true count (see inodecount.go).

// The watch looks at a layer every inodeTick, and more often as its limit comes
// within reach: every shortTick, or in the time in which fastCreation files a
// second would reach it.
const (
	inodeTick    = 250 * time.Millisecond
	shortTick    = 20 * time.Millisecond
	fastCreation = 50_000
)

// inodeWatch holds mounted layers to their number of files.
type inodeWatch struct {
	count    func(Layer) (uint64, error)
	created  func() (uint64, error) // objects of all pools, at once
	endTxg   func(Layer, Record) error
	counters func(key string) func() zfs.Objset // zero where they cannot be read
	freeze   func(l Layer, r Record, pending uint64) error
	thaw     func(Layer, Record) error

	mu     sync.Mutex
	layers map[string]*watched
	stop   chan struct{} // closes when the last layer goes; nil when none is watched
}

type watched struct {
	Layer
	Record
	frozen   bool
	frozenAt uint64 // the number of files it was last frozen with
	counters func() zfs.Objset
	failing  bool // which was said
	sure     sureCount
	created  uint64 // the objects created on all pools when it was last judged
	judged   time.Time
}

// add begins to watch a layer that has a limit on its files.
func (w *inodeWatch) add(p Layer, r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Inodes == 0 || w.layers[p.Key] != nil {
		return
	}
	w.layers[p.Key] = &watched{Layer: p, Record: r, counters: w.counters(p.Key)}
	w.layers[p.Key].sure = w.firstCount(w.layers[p.Key])
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
	timer := time.NewTimer(shortTick)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
			timer.Reset(w.look())
		}
	}
}

// look judges each layer and returns when to look again.
func (w *inodeWatch) look() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := inodeTick
	created, err := w.created()
	for _, l := range w.layers {
		if err != nil {
			// Without the counter the transaction groups' own pace remains.
			l.complain(err)
			w.judge(l)
			continue
		}
		if !l.frozen {
			if counting := w.countNearLimit(l, created); counting != nil {
				l.complain(counting)
			}
		}
		// Between two ticks only what was created matters.
		if now := time.Now(); created != l.created || !now.Before(l.judged.Add(inodeTick)) {
			w.judge(l)
			l.created, l.judged = created, now
		}
		if !l.frozen {
			next = min(next, l.sure.nextLook(l.Inodes, created))
		}
	}
	return next
}

// judge freezes a layer at its limit, and thaws one below it.
func (w *inodeWatch) judge(l *watched) {
	used, err := w.used(l)
	if err != nil {
		l.complain(err)
		return
	}
	over := used >= l.Inodes
	if over != l.frozen || over && used > l.frozenAt {
		w.change(l, over, used)
	}
}

// used counts a layer's files. What is deleted only matters near the limit.
func (w *inodeWatch) used(l *watched) (uint64, error) {
	used, err := w.count(l.Layer)
	if err != nil || used < l.Inodes {
		return used, err
	}
	return used - min(used, deletedFiles(l.counters())), nil
}

// change freezes or thaws a layer. That is tried again at the next look. One
// that came by more files since it was frozen is frozen anew, closer to what it
// holds.
func (w *inodeWatch) change(l *watched, freeze bool, used uint64) {
	act := func() error { return w.thaw(l.Layer, l.Record) }
	if freeze {
		var pending uint64
		if !l.frozen {
			pending = l.sure.pending(l.counters())
		}
		act = func() error { return w.freeze(l.Layer, l.Record, pending) }
	}
	if err := act(); err != nil {
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
