package quota

import (
	"testing"
	"time"
)

const testMiB = 1 << 20

func TestPending(t *testing.T) {
	for name, c := range map[string]struct {
		base, now counters
		want      uint64
	}{
		"nothing":                 {counters{100, 0}, counters{100, 0}, 0},
		"calls that returned":     {counters{100, 0}, counters{150, 20}, 50},
		"a call that goes on":     {counters{100, 0}, counters{100, 70}, 70},
		"others' when it resumed": {counters{100, 60}, counters{105, 70}, 10},
		"memory was freed":        {counters{100, 60}, counters{105, 0}, 5},
		"mounted anew":            {counters{100, 0}, counters{30, 10}, 30},
		"mounted anew, in memory": {counters{100, 50}, counters{30, 40}, 40},
	} {
		equal(t, name, account{base: c.base}.pending(c.now), c.want)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		limit, used, pending uint64
		want                 verdict
	}{
		{100, 0, 0, verdictContinue}, {100, 0, 49, verdictContinue}, {100, 0, 50, verdictSync}, {100, 0, 99, verdictSync}, {100, 0, 100, verdictFreeze},
		{100, 60, 19, verdictContinue}, {100, 60, 20, verdictSync}, {100, 60, 40, verdictFreeze}, {100, 60, 1000, verdictFreeze},
		{100, 99, 0, verdictSync}, {100, 100, 0, verdictFull}, {100, 101, 500, verdictFull},
	} {
		a := account{limit: c.limit, used: c.used}
		equal(t, "judged", a.judge(counters{written: c.pending}), c.want)
	}
}

func TestSlack(t *testing.T) {
	a := account{limit: 100, used: 30}
	equal(t, "free", a.free(), 70)
	equal(t, "slack", a.slack(counters{written: 20}), 50)
	equal(t, "no slack", a.slack(counters{written: 200}), 0)
	a.used = 150
	equal(t, "beyond the limit", a.free(), 0)
}

// TestPause makes sure that at maxRate at most half of the slack is used between two checks,
// down to minPause.
func TestPause(t *testing.T) {
	for slack, want := range map[uint64]time.Duration{
		0: minPause, 1 << 20: minPause, 10 << 20: minPause,
		100 << 20: 48 * time.Millisecond, 1 << 30: 500 * time.Millisecond, 2 << 30: maxPause, 1 << 60: maxPause,
	} {
		equal(t, "pause", pause(slack, false), want)
	}
	equal(t, "idle, near", pause(0, true), idlePause)
	equal(t, "idle, far", pause(1<<30, true), 500*time.Millisecond)
}
