package snapshot

import "time"

// rows are the events that wait for their snapshots.
type rows map[Event]row

// row is a row of events of one kind that gives one snapshot.
type row struct{ first, last time.Time }

// add notes that an event happened.
func (r rows) add(e Event, now time.Time) {
	known, ok := r[e]
	if !ok {
		known.first = now
	}
	known.last = now
	r[e] = known
}

// restore puts rows back that another event's snapshot was to settle, and that
// failed. The event's own is not tried again.
func (r rows) restore(settled rows, failed Event) {
	for e, old := range settled {
		if known, ok := r[e]; ok {
			old.last = known.last
		}
		if e != failed {
			r[e] = old
		}
	}
}

// at is when the snapshot of the row is taken.
func (r row) at(e Event) time.Time {
	if !e.coalesced() {
		return r.first
	}
	quiet, longest := r.last.Add(QuietPeriod), r.first.Add(MaxDelay)
	if longest.Before(quiet) {
		return longest
	}
	return quiet
}

// ripe returns the events whose snapshots are to be taken, in the order of
// events.
func (r rows) ripe(now time.Time) []Event {
	var ripe []Event
	for _, e := range events {
		if known, ok := r[e]; ok && !now.Before(known.at(e)) {
			ripe = append(ripe, e)
		}
	}
	return ripe
}

// next is how long nothing is to be done, at most most.
func (r rows) next(now time.Time, most time.Duration) time.Duration {
	for e, known := range r {
		most = min(most, max(0, known.at(e).Sub(now)))
	}
	return most
}
