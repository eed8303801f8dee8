package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/retry"
)

// Discard deletes the dataset or project quota of a removed layer, and its record. A busy
// dataset is tried again in the background, and at the next start.
func (l *Limiter) Discard(key string) error {
	err := l.discard(l.ctx, key)
	if errors.Is(err, fault.Busy) {
		l.discardInBackground(key, func(*discarding) error { return err })
		return nil
	}
	return err
}

// DiscardLater is Discard in the background, because destroying a dataset waits for a
// transaction group. It begins when the layer's mount has ended; nil is no mount. A crash
// leaves the record, which the next start finds.
func (l *Limiter) DiscardLater(key string, ended <-chan struct{}) {
	if r, err := l.records.load(key); r == nil && err == nil {
		return
	}
	l.discardInBackground(key, func(d *discarding) error {
		if ended != nil {
			select {
			case <-ended:
			case <-l.ctx.Done():
				return nil
			}
		}
		l.awaitQuiet(l.ctx, d.hurry)
		return l.discard(l.ctx, key)
	})
}

// WaitDiscards waits until no layer is being discarded in the background, except for those
// whose dataset is in use. The discards wait for no quiet moment then.
func (l *Limiter) WaitDiscards(ctx context.Context) error {
	all := l.discards.list()
	for _, d := range all {
		d.hasten()
	}
	for _, d := range all {
		select {
		case <-d.waited:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (l *Limiter) discard(ctx context.Context, key string) error {
	return l.runForLayer(key, func(c controller, r Record) error {
		if err := c.discard(ctx, key, r); err != nil {
			return fmt.Errorf("delete the dataset or quota of layer %s: %w", r.Layer, err)
		}
		return l.records.remove(key)
	})
}

// A dataset stays busy while any mount name space uses it: through a file that was open when
// the container ended, or while a name space is being made. That passes within moments or with
// its user. A user for longer than usualPause is worth a message.
var busyPauses = retry.Pauses{First: 5 * time.Millisecond, Most: 15 * time.Second}

const usualPause = time.Second

// discardInBackground discards key until that works or the Limiter is closed. The next start
// finds the record again. A key that is being discarded is left to that. first is the first
// try.
func (l *Limiter) discardInBackground(key string, first func(*discarding) error) {
	d := l.discards.begin(key)
	if d == nil {
		return
	}
	l.jobs.Go(func() {
		defer l.discards.end(key)
		log := logrus.WithField("key", key)
		err := first(d)
		for pause := range busyPauses.Each(l.ctx) {
			if !errors.Is(err, fault.Busy) {
				break
			}
			if pause > usualPause && d.endWaits() {
				log.WithError(err).Info("the dataset of a removed layer is in use; it is destroyed when its last user ends")
			}
			err = l.discard(l.ctx, key)
		}
		if err != nil && l.ctx.Err() == nil {
			log.WithError(err).Warn("cannot delete the dataset or quota of a removed layer: left for the next start")
		}
	})
}

// discards are the keys that are being discarded in the background.
type discards struct {
	mu  sync.Mutex
	all map[string]*discarding
}

// discarding is a key that is being discarded.
type discarding struct {
	waited chan struct{} // closed when it has ended, or its dataset is known to be in use
	hurry  chan struct{} // closed when somebody waits for its end

	endOnce, hurryOnce sync.Once
}

// hasten ends the wait for a quiet moment.
func (d *discarding) hasten() { d.hurryOnce.Do(func() { close(d.hurry) }) }

// endWaits ends the waits for the key and reports whether it is the first to do so.
func (d *discarding) endWaits() (first bool) {
	d.endOnce.Do(func() {
		close(d.waited)
		first = true
	})
	return first
}

// begin returns nil if the key is being discarded already.
func (d *discards) begin(key string) *discarding {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[key] != nil {
		return nil
	}
	if d.all == nil {
		d.all = map[string]*discarding{}
	}
	d.all[key] = &discarding{waited: make(chan struct{}), hurry: make(chan struct{})}
	return d.all[key]
}

func (d *discards) end(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[key].endWaits()
	delete(d.all, key)
}

func (d *discards) has(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[key] != nil
}

func (d *discards) list() []*discarding {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.all))
}
