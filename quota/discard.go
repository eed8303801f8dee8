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
		l.discardInBackground(key, func() error { return err })
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
	l.discardInBackground(key, func() error {
		if ended != nil {
			select {
			case <-ended:
			case <-l.ctx.Done():
				return nil
			}
		}
		return l.discard(l.ctx, key)
	})
}

// WaitDiscards waits until no layer is being discarded in the background, except for those
// whose dataset is in use.
func (l *Limiter) WaitDiscards(ctx context.Context) error {
	for _, waits := range l.discards.list() {
		select {
		case <-waits:
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
func (l *Limiter) discardInBackground(key string, first func() error) {
	if !l.discards.begin(key) {
		return
	}
	l.jobs.Go(func() {
		defer l.discards.end(key)
		log := logrus.WithField("key", key)
		err := first()
		for pause := range busyPauses.Each(l.ctx) {
			if !errors.Is(err, fault.Busy) {
				break
			}
			if pause > usualPause && l.discards.endWaits(key) {
				log.WithError(err).Info("the dataset of a removed layer is in use; it is destroyed when its last user ends")
			}
			err = l.discard(l.ctx, key)
		}
		if err != nil && l.ctx.Err() == nil {
			log.WithError(err).Warn("cannot delete the dataset or quota of a removed layer: left for the next start")
		}
	})
}

// discards are the keys that are being discarded in the background. The channel of a key is
// closed when the discard has ended or its dataset is known to be in use.
type discards struct {
	mu    sync.Mutex
	waits map[string]chan struct{}
}

// begin reports whether the caller may discard the key.
func (d *discards) begin(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waits[key] != nil {
		return false
	}
	if d.waits == nil {
		d.waits = map[string]chan struct{}{}
	}
	d.waits[key] = make(chan struct{})
	return true
}

// endWaits ends the waits for the key and reports whether it is the first to do so.
func (d *discards) endWaits(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.waits[key]:
		return false
	default:
		close(d.waits[key])
		return true
	}
}

func (d *discards) end(key string) {
	d.endWaits(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waits, key)
}

func (d *discards) has(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waits[key] != nil
}

func (d *discards) list() []chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.waits))
}
