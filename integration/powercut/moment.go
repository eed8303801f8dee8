package powercut

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// moment is when the power is cut: some time after one event of the load, or after one of a
// kind, at once after an answer by which the engine records something or in the middle of a
// call. It counts events and not time, so that as much has happened on a slow machine as on a
// fast one.
type moment struct {
	events int           // cut at the latest after so many
	latest time.Duration // cut at the latest so long after the load's begin
	verb   wire.Verb     // "" for none: only events counts
	call   wire.Call     // "" for any
	nth    int
	delay  time.Duration
}

func drawMoment(r *rand.Rand, tier Tier, size size) moment {
	within := func(limit time.Duration) time.Duration { return time.Duration(r.Int64N(int64(limit))) }
	m := moment{events: size.events, latest: size.longestLoad}
	switch r.IntN(3) {
	case 0:
		m.events, m.delay = 1+r.IntN(size.events), within(size.longestCall)
	case 1:
		m.verb, m.nth = wire.Done, 1+r.IntN(2*size.workers)
	default:
		m.verb, m.nth, m.delay = wire.Begin, 1+r.IntN(2*size.workers), within(size.longestCall)
	}
	if m.verb != "" && tier == DriverTier {
		m.call = []wire.Call{wire.Create, wire.Fill, wire.Remove}[r.IntN(3)]
	}
	return m
}

// hear counts the load's events and calls cut at the right one, or in a while.
func (m *moment) hear(e wire.Event, cut func(why string)) {
	m.events--
	matches := m.verb != "" && e.Verb == m.verb && (m.call == "" || e.Call == m.call)
	if matches {
		m.nth--
	}
	if m.events != 0 && (!matches || m.nth != 0) {
		return
	}
	why := fmt.Sprintf("%s %s %s", e.Verb, e.Call, e.Kind)
	if m.delay == 0 {
		cut(why)
		return
	}
	time.AfterFunc(m.delay, func() { cut(fmt.Sprintf("%d ms after %s", m.delay.Milliseconds(), why)) })
}
