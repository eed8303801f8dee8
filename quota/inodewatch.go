package quota

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// No released OpenZFS limits the number of files of a dataset. It limits only those of a
// user, group or project in it. So inodeWatch counts the files of mounted layers with such a
// limit, and freezes the space of a layer at its limit until files are deleted. Without such
// a layer nothing runs.
//
// ZFS counts a dataset's files once a transaction group. It counts at once the objects
// created on all pools. A layer may reach its limit by its last count and all objects created
// since. Then inodeWatch ends the transaction group, which gives the true count.

// inodeWatch checks a layer every maxCheckInterval, and more often when its limit comes
// within reach: in the time in which maxCreationRate files a second would reach it, and at
// most every minCheckInterval.
const (
	maxCheckInterval = 250 * time.Millisecond
	minCheckInterval = 20 * time.Millisecond
	maxCreationRate  = 50_000
)

// inodeWatch enforces the limits of mounted layers on the number of files.
type inodeWatch struct {
	count        func(Layer) (uint64, error)
	created      func() (uint64, error) // the objects created on all pools, up to date
	endTxg       func(Layer, Record) error
	objsetReader func(key string) func() zfs.Objset // returns zeros when they cannot be read
	freeze       func(l Layer, r Record, pending uint64) error
	thaw         func(Layer, Record) error

	mu     sync.Mutex
	layers map[string]*watchedLayer
	stop   chan struct{} // closed when the last layer goes; nil while none is watched
}

type watchedLayer struct {
	Layer
	Record
	frozen     bool
	frozenAt   uint64 // the number of files at the last freeze
	readObjset func() zfs.Objset
	failing    bool // the last change failed, which is logged
	lastCount  txgCount
	created    uint64 // the objects created on all pools at the last judgement
	lastJudged time.Time
}

// add begins to watch a layer that has a limit on its files.
func (w *inodeWatch) add(layer Layer, r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Inodes == 0 || w.layers[layer.Key] != nil {
		return
	}
	w.layers[layer.Key] = &watchedLayer{Layer: layer, Record: r, readObjset: w.objsetReader(layer.Key)}
	w.layers[layer.Key].lastCount = w.countAtMount(w.layers[layer.Key])
	if w.stop == nil {
		w.stop = make(chan struct{})
		go w.run(w.stop)
	}
}

// remove ends the watch of a layer and thaws it.
func (w *inodeWatch) remove(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.layers[key]; l != nil && l.frozen {
		w.setFrozen(l, false, 0)
	}
	w.dropLayer(key)
}

// has reports whether a layer is watched.
func (w *inodeWatch) has(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.layers[key] != nil
}

// forget ends the watch of a removed layer.
func (w *inodeWatch) forget(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLayer(key)
}

func (w *inodeWatch) dropLayer(key string) {
	delete(w.layers, key)
	if len(w.layers) == 0 {
		w.stopLoop()
	}
}

func (w *inodeWatch) stopLoop() {
	if w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

// set puts a layer's new limits in force. It holds the lock, so that no check in between
// freezes the layer by its old limits. It thaws the layer, and the next check decides again.
func (w *inodeWatch) set(layer Layer, r Record, apply func(Layer, Record) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := apply(layer, r); err != nil {
		return err
	}
	if l := w.layers[layer.Key]; l != nil {
		l.Record, l.frozen = r, false
	}
	if r.Inodes == 0 {
		w.dropLayer(layer.Key)
	}
	return nil
}

// close ends all watches and leaves frozen layers frozen. Their containers go on, and the
// next start puts the recorded limits in force.
func (w *inodeWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.layers)
	w.stopLoop()
}

func (w *inodeWatch) run(stop <-chan struct{}) {
	timer := time.NewTimer(minCheckInterval)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
			timer.Reset(w.checkAll())
		}
	}
}

// checkAll checks each layer and returns when to check again.
func (w *inodeWatch) checkAll() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := maxCheckInterval
	created, err := w.created()
	for _, l := range w.layers {
		if err != nil {
			// Without the counter, the counts come at the pace of the transaction groups.
			l.logOnce(err)
			w.judgeLayer(l)
			continue
		}
		if !l.frozen {
			if counting := w.countNearLimit(l, created); counting != nil {
				l.logOnce(counting)
			}
		}
		// Within maxCheckInterval, only new objects make a judgement necessary.
		if now := time.Now(); created != l.created || !now.Before(l.lastJudged.Add(maxCheckInterval)) {
			w.judgeLayer(l)
			l.created, l.lastJudged = created, now
		}
		if !l.frozen {
			next = min(next, l.lastCount.nextCheck(l.Inodes, created))
		}
	}
	return next
}

// judgeLayer freezes a layer at its limit, and thaws a layer below it.
func (w *inodeWatch) judgeLayer(l *watchedLayer) {
	used, err := w.countUsed(l)
	if err != nil {
		l.logOnce(err)
		return
	}
	over := used >= l.Inodes
	if over != l.frozen || over && used > l.frozenAt {
		w.setFrozen(l, over, used)
	}
}

// countUsed counts a layer's files. Deleted files are subtracted only near the limit, where
// they matter.
func (w *inodeWatch) countUsed(l *watchedLayer) (uint64, error) {
	used, err := w.count(l.Layer)
	if err != nil || used < l.Inodes {
		return used, err
	}
	return used - min(used, countDeleted(l.readObjset())), nil
}

// setFrozen freezes or thaws a layer. The next check repeats a failed change. A frozen layer
// that got more files is frozen again, closer to what it holds.
func (w *inodeWatch) setFrozen(l *watchedLayer, freeze bool, used uint64) {
	act := func() error { return w.thaw(l.Layer, l.Record) }
	if freeze {
		var pending uint64
		if !l.frozen {
			created, _ := w.created() // zero on failure, which adds nothing
			pending = l.lastCount.pendingBytes(l.readObjset(), created)
		}
		act = func() error { return w.freeze(l.Layer, l.Record, pending) }
	}
	if err := act(); err != nil {
		l.logOnce(err)
		return
	}
	l.failing = false
	if l.frozen != freeze {
		logrus.WithFields(logrus.Fields{"layer": l.Layer, "limit": l.Inodes, "reached": freeze}).Info("limit on the number of files")
	}
	l.frozen, l.frozenAt = freeze, used
}

// logOnce logs the first of several failures in a row.
func (l *watchedLayer) logOnce(err error) {
	if !l.failing {
		logrus.WithError(err).WithField("layer", l.Layer).Warn("cannot enforce the layer's limit on the number of files")
	}
	l.failing = true
}

// txgCount is a number of files as a transaction group has confirmed it. The other fields
// tell how many more there may be by now.
type txgCount struct {
	files     uint64
	created   uint64 // objects created on all pools when the group began to end
	written   uint64 // bytes written to the dataset by then
	notBefore time.Time
}

// A layer near its limit may have its pool end transaction groups early. After each end the
// watch pauses for txgPauseFactor times its duration, and at least for minTxgPause.
const (
	txgPauseFactor = 5
	minTxgPause    = 50 * time.Millisecond
)

// maxFiles returns the most files that there can be: every object created since the count
// may be a file of this layer.
func (c *txgCount) maxFiles(created uint64) uint64 {
	return c.files + created - min(created, c.created)
}

// fileBytes is about the space of an empty file: its dnode, and its name in a directory.
const fileBytes = 1 << 10

// pendingBytes returns the space that was taken since the count, by bytes written and by
// objects created. The dataset's usage may lack it.
func (c *txgCount) pendingBytes(now zfs.Objset, created uint64) uint64 {
	files := created - min(created, c.created)
	return now.BytesWritten - min(now.BytesWritten, c.written) + fileBytes*files
}

// nextCheck returns when the layer has to be checked again.
func (c *txgCount) nextCheck(limit, created uint64) time.Duration {
	left := limit - min(limit, c.maxFiles(created))
	return max(minCheckInterval, min(maxCheckInterval, time.Duration(left)*time.Second/maxCreationRate))
}

// countAtMount returns the count of a layer that was just mounted. An unmount ends the
// transaction group, so all its files are counted.
func (w *inodeWatch) countAtMount(l *watchedLayer) txgCount {
	// A failure leaves zeros, and the first check then ends a group.
	c := txgCount{written: l.readObjset().BytesWritten}
	if files, err := w.count(l.Layer); err == nil {
		c.files = files
		c.created, _ = w.created()
	}
	return c
}

// countNearLimit ends a transaction group and counts the files of a layer that could be at
// its limit. It does nothing for a layer further away, or soon after the last count.
func (w *inodeWatch) countNearLimit(l *watchedLayer, created uint64) error {
	if l.lastCount.maxFiles(created) < l.Inodes || created == l.lastCount.created {
		return nil
	}
	begin := time.Now()
	if begin.Before(l.lastCount.notBefore) {
		return nil
	}
	written := l.readObjset().BytesWritten
	if err := w.endTxg(l.Layer, l.Record); err != nil {
		return err
	}
	end := time.Now()
	l.lastCount.notBefore = end.Add(max(minTxgPause, txgPauseFactor*end.Sub(begin)))
	files, err := w.count(l.Layer)
	if err != nil {
		return err
	}
	l.lastCount.files, l.lastCount.created, l.lastCount.written = files, created, written
	return nil
}
