package snapshot

import (
	"time"
)

// Event is a reason to take a snapshot.
type Event string

// The events. The driver starts and stops. Layers are committed and removed. The Scheduler
// itself makes the interval events. Manual is the operator's event, and no policy keeps or
// destroys its snapshots.
const (
	Start     Event = "start"
	Stop      Event = "stop"
	Committed Event = "committed"
	Removed   Event = "removed"
	Hourly    Event = "hourly"
	Daily     Event = "daily"
	Weekly    Event = "weekly"
	Manual    Event = "manual"
)

// policyEvents are the events that a policy can name, in the order in which they are shown.
var policyEvents = []Event{Start, Stop, Committed, Removed, Hourly, Daily, Weekly}

// intervals are the events that time makes, shortest first.
var intervals = []Event{Hourly, Daily, Weekly}

// interval returns the time between two snapshots of an interval event, and 0 for another
// event.
func (e Event) interval() time.Duration {
	switch e {
	case Hourly:
		return time.Hour
	case Daily:
		return 24 * time.Hour
	case Weekly:
		return 7 * 24 * time.Hour
	}
	return 0
}

// isDue reports whether an interval's next snapshot has to be taken. last is the time of the
// newest one, zero for none. created is the time when the layers dataset was made. Both are
// by the clock of their moment.
//
// A newest snapshot in the future means that the clock was set back. When it is ahead by less
// than an interval, the clock gets there soon enough. When it is ahead by more, the next
// snapshot is taken now and becomes the newest, so that happens once. But nothing is taken
// while the clock shows a time before the dataset was made: a machine without a battery starts
// in 1970 and learns the time later.
func isDue(now, last, born time.Time, every time.Duration) bool {
	if last.IsZero() {
		return true
	}
	age := now.Sub(last)
	if age <= -every {
		return !now.Before(born)
	}
	return age >= every
}

// Events of one kind within these times give one snapshot.
const (
	// QuietPeriod has to pass after the last event of a series.
	QuietPeriod = time.Minute
	// MaxDelay is the longest delay of the snapshot of a series that does not end.
	MaxDelay = 5 * time.Minute
)

// isCoalesced reports whether many such events give one snapshot. A build commits a layer
// every few seconds, and pruning removes many at once.
func (e Event) isCoalesced() bool { return e == Committed || e == Removed }

// pendingEvents are the events that wait for their snapshot.
type pendingEvents map[Event]pendingEvent

// pendingEvent is a series of events of one kind that gives one snapshot.
type pendingEvent struct{ first, last time.Time }

// add records an event.
func (r pendingEvents) add(e Event, now time.Time) {
	known, ok := r[e]
	if !ok {
		known.first = now
	}
	known.last = now
	r[e] = known
}

// putBack restores the events that a snapshot was to cover when that snapshot failed. The
// failed event itself is not tried again.
func (r pendingEvents) putBack(covered pendingEvents, failed Event) {
	for e, old := range covered {
		if known, ok := r[e]; ok {
			old.last = known.last
		}
		if e != failed {
			r[e] = old
		}
	}
}

// dueTime returns when the snapshot of the series is taken.
func (r pendingEvent) dueTime(e Event) time.Time {
	if !e.isCoalesced() {
		return r.first
	}
	quiet, longest := r.last.Add(QuietPeriod), r.first.Add(MaxDelay)
	if longest.Before(quiet) {
		return longest
	}
	return quiet
}

// dueEvents returns the events whose snapshots have to be taken, in the order of policyEvents.
func (r pendingEvents) dueEvents(now time.Time) []Event {
	var ripe []Event
	for _, e := range policyEvents {
		if known, ok := r[e]; ok && !now.Before(known.dueTime(e)) {
			ripe = append(ripe, e)
		}
	}
	return ripe
}

// nextWait returns how long no snapshot is due, at most most.
func (r pendingEvents) nextWait(now time.Time, most time.Duration) time.Duration {
	for e, known := range r {
		most = min(most, max(0, known.dueTime(e).Sub(now)))
	}
	return most
}
