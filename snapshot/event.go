package snapshot

import "time"

// Notify is a reason to take a snapshot.
type Event string

// The events. Start and Stop are the driver's own, Committed and Removed are
// about layers. The intervals are taken by the Keeper itself. Manual is the
// operator's and has no retention.
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

// events are those a policy can name, in the order they are shown.
var events = []Event{Start, Stop, Committed, Removed, Hourly, Daily, Weekly}

// intervals are the events that time makes, shortest first.
var intervals = []Event{Hourly, Daily, Weekly}

// every is how far apart the snapshots of an interval are; 0 of other events.
func (e Event) every() time.Duration {
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

// Windows in which events of one kind give one snapshot.
const (
	// QuietPeriod has to pass after the last of a row of events.
	QuietPeriod = time.Minute
	// MaxDelay is how long a row that does not end is waited for.
	MaxDelay = 5 * time.Minute
)

// coalesced reports whether the event comes in rows: a build commits a layer
// every few seconds, and pruning removes many at once.
func (e Event) coalesced() bool { return e == Committed || e == Removed }
