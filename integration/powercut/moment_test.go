package powercut

import (
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// TestAMomentComes makes sure that each load is cut, once, in the middle of its events.
func TestAMomentComes(t *testing.T) {
	size := fastSizes[DriverTier]
	size.longestCall = 1 // nothing is delayed
	happened := make(map[int]int)
	for seed := range uint64(500) {
		m := drawMoment(layers.Random(seed), DriverTier, size)
		m.delay = 0
		cuts, at := 0, 0
		for n := 1; n <= 2*size.events && cuts == 0; n++ {
			e := wire.Event{Verb: wire.Begin, Call: wire.Create, Kind: wire.Image}
			if n%2 == 0 {
				e.Verb = wire.Done
			}
			if n%4 > 1 {
				e.Call = wire.Fill
			}
			m.hear(e, func(string) { cuts, at = cuts+1, n })
		}
		if cuts != 1 || at > size.events {
			t.Fatalf("seed %d: %d cuts, the last after event %d; %+v", seed, cuts, at, m)
		}
		happened[at]++
	}
	if len(happened) < size.events/2 {
		t.Errorf("cuts at only %d of %d events", len(happened), size.events)
	}
}
