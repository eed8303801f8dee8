package powercut

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// moment is when the power is cut, counted from the load's begin: at a time, at
// once after an answer by which the engine records something, or in the middle
// of a call of one kind. A time alone would seldom meet what is short.
type moment struct {
	latest time.Duration
	verb   wire.Verb // "" for the time alone
	call   wire.Call // "" for any
	nth    int
	delay  time.Duration
}

func drawMoment(r *rand.Rand, tier Tier, size size) moment {
	between := func(a, b time.Duration) time.Duration { return a + time.Duration(r.Int64N(int64(b-a))) }
	switch r.IntN(3) {
	case 0:
		return moment{latest: between(size.shortestLoad, size.longestLoad)}
	case 1:
		m := moment{latest: size.longestLoad, verb: wire.Done, nth: 1 + r.IntN(2*size.workers)}
		if tier == DriverTier {
			m.call = wire.Fill
		}
		return m
	}
	m := moment{latest: size.longestLoad, verb: wire.Begin, nth: 1 + r.IntN(2*size.workers), delay: between(0, size.longestCall)}
	if tier == DriverTier {
		m.call = []wire.Call{wire.Create, wire.Fill, wire.Remove}[r.IntN(3)]
	}
	return m
}

// hear counts the calls that the moment is about and calls cut at the right
// one, or in a while.
func (m *moment) hear(e wire.Event, cut func(why string)) {
	if m.verb == "" || e.Verb != m.verb || m.call != "" && e.Call != m.call {
		return
	}
	if m.nth--; m.nth != 0 {
		return
	}
	why := fmt.Sprintf("%s %s %s", e.Verb, e.Call, e.Kind)
	if m.delay == 0 {
		cut(why)
		return
	}
	time.AfterFunc(m.delay, func() { cut(fmt.Sprintf("%d ms after %s", m.delay.Milliseconds(), why)) })
}
