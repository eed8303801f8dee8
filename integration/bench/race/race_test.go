package race

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/judge"
)

func TestFiguresAreParsedByColumn(t *testing.T) {
	const text = "12 1 0x01 99 4752 1 2\nname  type data\nsize\t4\t123\nVmRSS:\t  56 kB\nName:\tplugin\nalone\n"
	if got, want := parseFigures(text, 2), map[string]int64{"size": 123}; !maps.Equal(got, want) {
		t.Errorf("column 2: %v, want %v", got, want)
	}
	if got := parseFigures(text, 1); got["VmRSS"] != 56 || got["size"] != 4 {
		t.Errorf("column 1: %v", got)
	}
}

func TestCountsAreFormatted(t *testing.T) {
	for n, want := range map[int]string{1: "1 change", 100: "100 changes", 10_000: "10,000 changes", 1_005: "1,005 changes"} {
		if got := formatCount(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestTurnsFitTheBudget(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	for name, c := range map[string]struct {
		now, turns, last int // turns is a number, the others are seconds
		always, want     bool
	}{
		"a first turn":                    {0, 0, 0, false, true},
		"a first turn beyond the group's": {50, 0, 0, false, true},
		"a first turn after the end":      {101, 0, 0, false, false},
		"that costs nothing":              {101, 0, 0, true, true},
		"another that fits":               {10, 1, 20, false, true},
		"another that would not":          {11, 1, 20, false, false},
	} {
		clock := clock{end: at(100), budget: 30 * time.Second, always: c.always}
		err := clock.allows(at(c.now), begin, c.turns, time.Duration(c.last)*time.Second)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheTimeLeftIsShared(t *testing.T) {
	groups := []group{{budget: time.Minute}, {budget: 2 * time.Minute}, {budget: time.Minute}}
	for _, c := range []struct{ left, want time.Duration }{
		{time.Hour, time.Minute}, {4 * time.Minute, time.Minute}, {2 * time.Minute, 30 * time.Second}, {-time.Minute, 0},
	} {
		if got := shareBudget(c.left, groups); got != c.want {
			t.Errorf("%v left: %v, want %v", c.left, got, c.want)
		}
	}
}

// TestGroupsCoverTheTargets checks that each row is in one group, and that every target
// on storage has its row and contenders.
func TestGroupsCoverTheTargets(t *testing.T) {
	entries := map[string][]string{}
	var budget time.Duration
	for _, g := range groups(&runner{}) {
		budget += g.budget
		for _, row := range g.rows {
			if entries[row.ID] != nil {
				t.Errorf("row %s is in two groups", row.ID)
			}
			if row.Group == "" || row.Title == "" || row.Unit == "" {
				t.Errorf("%+v lacks something", row)
			}
			for _, l := range g.entries {
				if l.rows == nil || slices.Contains(l.rows, row.ID) {
					entries[row.ID] = append(entries[row.ID], l.contender)
				}
			}
		}
	}
	for _, target := range judge.Targets() {
		for _, side := range []judge.Side{target.Ours, target.Other} {
			if side.Row != "" && !strings.HasPrefix(side.Row, "engine.") && !slices.Contains(entries[side.Row], side.Contender) {
				t.Errorf("target %q: %s does not run in %q", target.Title, side.Contender, side.Row)
			}
		}
	}
	t.Logf("all groups together may take %v", budget)
}
