package snapshot

import (
	"context"
	"time"
)

// lookAgain is how often the wall clock is compared with the intervals, and
// how soon one that failed is tried again. It is short because a clock can be
// set, and a machine can sleep.
const lookAgain = time.Minute

// run is the Keeper's goroutine.
func (k *Scheduler) run() {
	defer close(k.ended)
	for goOn := true; goOn; {
		k.takeAll(k.overdue())
		nextLook := time.Now().Add(lookAgain)
		for goOn && time.Now().Before(nextLook) {
			k.takeAll(k.ripe())
			goOn = k.await(nextLook)
		}
	}
	k.takeAll(k.announced())
}

func (k *Scheduler) takeAll(due []Event) {
	for _, e := range due {
		_ = k.perform(k.ctx, e) // logged, and in Status
	}
}

// await waits until there may be something to do; false is the end.
func (k *Scheduler) await(nextLook time.Time) bool {
	k.mu.Lock()
	wait := k.rows.next(time.Now(), time.Until(nextLook))
	k.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-k.ending:
		return false
	case <-k.wake:
	case <-timer.C:
	}
	return true
}

// ripe returns the events whose rows are over.
func (k *Scheduler) ripe() []Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rows.ripe(time.Now())
}

// announced returns the events that wait, whether their rows are over or not.
func (k *Scheduler) announced() []Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []Event
	for _, e := range events {
		if _, ok := k.rows[e]; ok {
			all = append(all, e)
		}
	}
	return all
}

// overdue returns the intervals whose newest snapshot is too old. As long as
// it is not known which there are, that is none.
func (k *Scheduler) overdue() []Event {
	if !k.look() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var over []Event
	for _, e := range intervals {
		if k.config.Policy[e] > 0 && due(k.config.Now(), k.latest[e], k.born, e.every()) {
			over = append(over, e)
		}
	}
	return over
}

// look finds out which snapshots there are, unless that is known.
func (k *Scheduler) look() bool {
	k.mu.Lock()
	counted := k.counted
	k.mu.Unlock()
	if counted {
		return true
	}
	infos, _, err := k.worker.prune(k.ctx, nil)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pruning.note("listing snapshots", "", k.config.Now(), err)
	if err == nil {
		k.count(infos)
	}
	return err == nil
}

// count notes which snapshots there are.
func (k *Scheduler) count(infos []Info) {
	k.counted, k.counts, k.latest = true, map[Event]int{}, map[Event]time.Time{}
	for _, info := range infos {
		k.counts[info.Event]++
	}
	for _, e := range intervals {
		if info, ok := newest(infos, e); ok {
			k.latest[e] = info.Time
		}
	}
}

// perform takes a snapshot and keeps retention, one at a time.
func (k *Scheduler) perform(ctx context.Context, e Event) error {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-k.turn }()
	waited := k.settle(e)
	at := k.config.Now()
	_, err := k.worker.take(ctx, e, at)
	k.mu.Lock()
	if err != nil {
		k.rows.restore(waited, e)
	}
	k.taking.note("taking a snapshot", e, at, err)
	if err == nil && k.counted {
		k.counts[e]++
		k.latest[e] = at
	}
	k.mu.Unlock()
	if err != nil {
		return err
	}
	return k.retain(ctx, e, at)
}

// settle returns the rows that a snapshot of the event makes an end of, and
// forgets them: what happens from now on needs another snapshot. That of Stop
// has in it what all others wait for, and should stay the newest, to be gone back
// to without losing one.
func (k *Scheduler) settle(e Event) rows {
	k.mu.Lock()
	defer k.mu.Unlock()
	settled := rows{}
	for waiting, row := range k.rows {
		if waiting == e || e == Stop {
			settled[waiting] = row
			delete(k.rows, waiting)
		}
	}
	return settled
}

// retain destroys what the policy keeps no longer.
func (k *Scheduler) retain(ctx context.Context, e Event, at time.Time) error {
	left, pruned, err := k.worker.prune(ctx, k.config.Policy)
	k.mu.Lock()
	k.pruning.note("retention of snapshots", e, at, err)
	if err == nil {
		k.count(left)
	}
	k.mu.Unlock()
	if pruned && k.config.AfterPrune != nil {
		k.config.AfterPrune()
	}
	return err
}
