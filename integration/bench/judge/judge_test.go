package judge

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// report returns a report with one row and its samples by contender.
func report(row string, unit result.Unit, samples map[string][]float64) *result.Report {
	r := &result.Report{}
	for contender, values := range samples {
		for _, v := range values {
			r.AddSample(result.Row{ID: row, Title: row, Unit: unit}, contender, v)
		}
	}
	return r
}

func TestTargetsAreJudged(t *testing.T) {
	r := report("t", result.Milliseconds, map[string][]float64{"a": {8, 10, 12}, "b": {100}, "c": {10}, "zero": {0}})
	r.SetMissing(result.Row{ID: "t", Unit: result.Milliseconds}, "late", "no time")
	for _, c := range []struct {
		ours, other string
		rule        Rule
		want        float64
		state       State
		reached     float64
	}{
		{"a", "b", Faster, 10, Met, 10},
		{"a", "b", Faster, 10.1, Missed, 10},
		{"b", "a", Faster, 1, Missed, 0.1},
		{"a", "c", Within, 1, Met, 1},
		{"b", "a", Within, 9, Missed, 10},
		{"b", "a", More, 90, Met, 90},
		{"b", "a", More, 89, Missed, 90},
		{"a", "", Below, 10, Missed, 10},
		{"a", "", Below, 10.5, Met, 10},
		{"zero", "zero", Within, 1, Met, 1},
		{"absent", "a", Faster, 1, Unmeasured, 0},
		{"a", "absent", Faster, 1, Unmeasured, 0},
		{"late", "", Below, 1, Unmeasured, 0},
	} {
		target := Target{Ours: Side{"t", c.ours}, Other: Side{"t", c.other}, Rule: c.rule, Want: c.want}
		v := Judge(r, []Target{target})[0]
		if v.State != c.state || v.Reached != c.reached {
			t.Errorf("%s against %s, %s %v: %s, %v, want %s, %v", c.ours, c.other, c.rule, c.want, v.State, v.Reached, c.state, c.reached)
		}
		if (v.Why == "") == (v.State == Unmeasured) {
			t.Errorf("%s against %s: %s because of %q", c.ours, c.other, v.State, v.Why)
		}
		if c.ours == "late" && !strings.Contains(v.Why, "no time") {
			t.Errorf("why: %q", v.Why)
		}
	}
}

func TestTargetsAreSelectedByRow(t *testing.T) {
	r := report("t", result.Milliseconds, map[string][]float64{"a": {1}})
	here, gone := Side{"t", "a"}, Side{"gone", "a"}
	targets := SelectTargets(r, []Target{
		{Title: "1", Ours: here, Other: here, Rule: Faster}, {Title: "2", Ours: here, Rule: Below},
		{Title: "3", Ours: here, Other: gone, Rule: Faster}, {Title: "4", Ours: gone, Rule: Below},
	})
	if len(targets) != 2 || targets[0].Title != "1" || targets[1].Title != "2" {
		t.Errorf("%+v", targets)
	}
}

func TestTargetsAreComplete(t *testing.T) {
	titles := map[string]bool{}
	for _, target := range Targets() {
		if titles[target.Title] {
			t.Errorf("two targets are called %q", target.Title)
		}
		titles[target.Title] = true
		if target.Title == "" || target.Ours.Row == "" || target.Ours.Contender == "" || target.Want <= 0 {
			t.Errorf("%+v lacks something", target)
		}
		if target.Reason == "" {
			t.Errorf("%s has no reason for a miss", target.Title)
		}
		if (target.Other == Side{}) != (target.Rule == Below) {
			t.Errorf("%s: against %+v, %s", target.Title, target.Other, target.Rule)
		}
	}
}

func TestWinsOfPeersAreListed(t *testing.T) {
	for name, c := range map[string]struct {
		samples map[string][]float64
		want    []Win // Row is not compared
	}{
		"nobody":       {map[string][]float64{result.Ours: {1}, result.ZFS: {2}}, nil},
		"a peer":       {map[string][]float64{result.Ours: {4, 5}, result.ZFS: {2}}, []Win{{Peer: result.ZFS, Ratio: 2.25, Sure: true}}},
		"maybe":        {map[string][]float64{result.Ours: {2, 4}, result.ZFS: {1, 3}}, []Win{{Peer: result.ZFS, Ratio: 1.5}}},
		"a limit":      {map[string][]float64{result.Ours: {2}, result.GNU: {1}, result.Overlay2Tmpfs: {1}}, nil},
		"unlike":       {map[string][]float64{result.Ours: {2}, result.Overlay2Dis: {1}}, nil},
		"like":         {map[string][]float64{result.OursDisabled: {2}, result.Overlay2Dis: {1}}, []Win{{Peer: result.Overlay2Dis, Ratio: 2, Sure: true}}},
		"worst first":  {map[string][]float64{result.Ours: {6}, result.ZFS: {3}, result.Overlay2: {1}}, []Win{{Peer: result.Overlay2, Ratio: 6, Sure: true}, {Peer: result.ZFS, Ratio: 2, Sure: true}}},
		"not measured": {map[string][]float64{result.Ours: {2}}, nil},
	} {
		wins := Wins(report("t", result.Milliseconds, c.samples))
		if len(wins) != len(c.want) {
			t.Errorf("%s: %+v, want %+v", name, wins, c.want)
			continue
		}
		for i, w := range wins {
			if w.Peer != c.want[i].Peer || w.Ratio != c.want[i].Ratio || w.Sure != c.want[i].Sure {
				t.Errorf("%s: %+v, want %+v", name, w, c.want[i])
			}
		}
	}
}

// TestRowsWithoutPeersAreComparedByTheMachinesPace: without a peer in a row, the times
// of peers in other rows tell how fast the machine is now.
func TestRowsWithoutPeersAreComparedByTheMachinesPace(t *testing.T) {
	measured := func(alone, ours, peer float64) *result.Report {
		r := report("both", result.Milliseconds, map[string][]float64{result.Ours: {ours}, result.ZFS: {peer}})
		only := report("alone", result.Milliseconds, map[string][]float64{result.Ours: {alone}})
		r.Rows, r.Measurements = append(r.Rows, only.Rows...), append(r.Measurements, only.Measurements...)
		return r
	}
	former := measured(1, 1, 10)
	if slower := SlowerThan(former, measured(5, 4, 40)); len(slower) != 0 {
		t.Errorf("on a machine a quarter as fast: %+v", slower)
	}
	slower := SlowerThan(former, measured(10, 4, 40))
	if len(slower) != 1 || slower[0].Row.ID != "alone" || slower[0].Factor != 2 {
		t.Errorf("beyond the machine's pace: %+v", slower)
	}
}

func TestLossesBeyondTheNoiseAreListed(t *testing.T) {
	const ours, peer, other = result.Ours, result.ZFS, result.GNU
	type samples = map[string][]float64
	for name, c := range map[string]struct {
		unit      result.Unit
		then, now samples
		want      float64 // 0: not slower
	}{
		"the same":                {result.Milliseconds, samples{ours: {1}, peer: {10}}, samples{ours: {1}, peer: {10}}, 0},
		"a slower machine":        {result.Milliseconds, samples{ours: {1}, peer: {10}}, samples{ours: {5}, peer: {50}}, 0},
		"twice as slow":           {result.Milliseconds, samples{ours: {1}, peer: {10}}, samples{ours: {2.5}, peer: {10}}, 2},
		"within the floor":        {result.Milliseconds, samples{ours: {1}, peer: {10}}, samples{ours: {1.2}, peer: {10}}, 0},
		"within the spread then":  {result.Milliseconds, samples{ours: {1, 2}, peer: {10}}, samples{ours: {2}, peer: {10}}, 0},
		"within the spread now":   {result.Milliseconds, samples{ours: {1}, peer: {10}}, samples{ours: {1, 3, 3}, peer: {10}}, 0},
		"a peer's bad day":        {result.Milliseconds, samples{ours: {1}, peer: {10}, other: {1}}, samples{ours: {1}, peer: {1}, other: {1}}, 0},
		"the least of two":        {result.Milliseconds, samples{ours: {1}, peer: {10}, other: {10}}, samples{ours: {5}, peer: {10}, other: {20}}, 2},
		"new row":                 {result.Milliseconds, samples{peer: {10}}, samples{ours: {9}, peer: {10}}, 0},
		"no peer, of time":        {result.Milliseconds, samples{ours: {1}}, samples{ours: {9}}, 0},
		"nothing then":            {result.Bytes, samples{ours: {0}, peer: {10}}, samples{ours: {5}, peer: {10}}, 0},
		"no peer, of memory":      {result.Bytes, samples{ours: {100}}, samples{ours: {250}}, 2},
		"no peer, less of memory": {result.Bytes, samples{ours: {100}}, samples{ours: {50}}, 0},
		"only a peer's":           {result.Milliseconds, samples{peer: {1}, other: {10}}, samples{peer: {9}, other: {10}}, 0},
	} {
		slower := SlowerThan(report("t", c.unit, c.then), report("t", c.unit, c.now))
		switch {
		case c.want == 0 && len(slower) > 0:
			t.Errorf("%s: %+v", name, slower)
		case c.want > 0 && (len(slower) != 1 || slower[0].Factor != c.want || slower[0].Contender != ours):
			t.Errorf("%s: %+v, want %v", name, slower, c.want)
		}
	}
}
