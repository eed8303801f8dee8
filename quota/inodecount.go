package quota

import (
	"time"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// sureCount is a number of files that a transaction group has confirmed, and
// what is needed to say by how much the files can be more by now.
type sureCount struct {
	files   uint64
	created uint64 // objects created on all pools when the group began to end
	written uint64 // bytes written to the dataset by then
	pause   time.Time
}

// endTxgShare is how much of the time a layer near its limit may have its pool
// end transaction groups early: one part in so many. leastPause is the least time
// between two ends.
const (
	endTxgShare = 5
	leastPause  = 50 * time.Millisecond
)

// most is how many files there can be: every object that was created since may
// be a file of this layer.
func (c *sureCount) most(created uint64) uint64 {
	return c.files + created - min(created, c.created)
}

// pending is how much was written since, which the dataset's used space may lack.
func (c *sureCount) pending(now zfs.Objset) uint64 {
	return now.BytesWritten - min(now.BytesWritten, c.written)
}

// nextLook is when a layer has to be looked at again, at the latest.
func (c *sureCount) nextLook(limit, created uint64) time.Duration {
	left := limit - min(limit, c.most(created))
	return max(shortTick, min(inodeTick, time.Duration(left)*time.Second/fastCreation))
}

// firstCount is the count of a layer that was just mounted: an unmount ends the
// transaction group, so all its files are counted.
func (w *inodeWatch) firstCount(l *watched) sureCount {
	// A failure leaves zeros: the first look then ends a group.
	c := sureCount{written: l.counters().BytesWritten}
	if files, err := w.count(l.Layer); err == nil {
		c.files = files
		c.created, _ = w.created()
	}
	return c
}

// countNearLimit makes the count of a layer sure that could be at its limit. It
// does nothing for one that is further away, or soon after the last time.
func (w *inodeWatch) countNearLimit(l *watched, created uint64) error {
	if l.sure.most(created) < l.Inodes || created == l.sure.created {
		return nil
	}
	begin := time.Now()
	if begin.Before(l.sure.pause) {
		return nil
	}
	written := l.counters().BytesWritten
	if err := w.endTxg(l.Layer, l.Record); err != nil {
		return err
	}
	end := time.Now()
	l.sure.pause = end.Add(max(leastPause, endTxgShare*end.Sub(begin)))
	files, err := w.count(l.Layer)
	if err != nil {
		return err
	}
	l.sure.files, l.sure.created, l.sure.written = files, created, written
	return nil
}
