package quota

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"
)

// Recover finishes work that a crash interrupted. find returns a layer by its record and
// key, and false for a layer that does not exist. A layer in use has to be attached before,
// or by find, to be watched again.
func (l *Limiter) Recover(ctx context.Context, find func(Record, string) (Layer, bool)) error {
	l.spares.reset() // their records are among those below
	if err := l.records.removePartial(); err != nil {
		return err
	}
	keys, err := l.records.listKeys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.recover(key, find); err != nil {
			logrus.WithError(err).WithField("key", key).Warn("cannot recover the limit of a layer")
		}
	}
	l.startLooks()
	return l.Sweep(ctx)
}

// How often the datasets of removed layers are looked at: those below their parent, which
// costs one request where there are none, and all of the store's.
const (
	removedLookInterval = time.Minute
	sweepInterval       = time.Hour
)

// startLooks begins to sweep in the background. Other programs destroy their snapshots
// without a word, and the datasets that only those kept go then.
func (l *Limiter) startLooks() {
	d, ok := l.controllers[Dataset].(*datasets)
	if !ok {
		return
	}
	l.looks.Do(func() { l.jobs.Go(func() { l.look(d, removedLookInterval, sweepInterval) }) })
}

// look sweeps until the Limiter is closed.
func (l *Limiter) look(d *datasets, short, long time.Duration) {
	ticker := time.NewTicker(short)
	defer ticker.Stop()
	for swept := time.Now(); ; {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		sweep := d.sweepRemoved
		if time.Since(swept) >= long {
			sweep, swept = l.Sweep, time.Now()
		}
		if err := sweep(l.ctx); err != nil && l.ctx.Err() == nil {
			logrus.WithError(err).Warn("cannot destroy datasets of removed layers: left for the next look")
		}
	}
}

// recover discards a removed layer, and a spare. It puts the limit of an existing layer in
// force again: ZFS's intent log does not contain all of it, and the process may have ended
// while a governor had changed it.
func (l *Limiter) recover(key string, find func(Record, string) (Layer, bool)) error {
	r, err := l.records.load(key)
	if err != nil || r == nil {
		return err
	}
	if r.Layer == SpareLayer {
		return l.Discard(key)
	}
	p, ok := find(*r, key)
	if !ok {
		return l.Discard(key)
	}
	c, err := l.controller(*r)
	if err != nil {
		return err
	}
	return c.set(p, *r)
}

// Sweep deletes datasets and quotas without a record, as far as nothing holds them. A
// snapshot holds a dataset, so another Sweep is due after a snapshot was destroyed. Recover
// starts one in the background from time to time.
func (l *Limiter) Sweep(ctx context.Context) error {
	var errs []error
	for _, c := range l.controllers {
		errs = append(errs, c.sweep(ctx, l.records.loadAll))
	}
	return errors.Join(errs...)
}

// Close stops the work in the background. On a suspended pool some of it may not end, and
// Close then returns after closeTimeout.
func (l *Limiter) Close() {
	l.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.jobs.Wait()
		if err := l.DropSpares(); err != nil {
			logrus.WithError(err).Warn("cannot destroy spare datasets: left for the next start")
		}
		for _, c := range l.controllers {
			c.close()
		}
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		logrus.Warn("limits: work in the background still waits for the pool")
	}
}

// closeTimeout is how long Close waits.
const closeTimeout = 2 * time.Second
