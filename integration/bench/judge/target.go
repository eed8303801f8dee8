package judge

import (
	"fmt"
	"math"
	"slices"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Side is a figure: a contender's median in a row.
type Side struct{ Row, Contender string }

// Rule is how a figure of ours is held against another.
type Rule string

// The rules. Figures are costs: to be twice as fast is to need half.
const (
	Faster Rule = "at least %g times as fast" // the other's, divided by ours
	Within Rule = "at most %g times"          // ours, divided by the other
	More   Rule = "at most %g more"           // ours, less the other
	Below  Rule = "below %g"                  // ours alone
)

// Target is what a release promises.
type Target struct {
	Title string
	Ours  Side
	Other Side // none with Below
	Rule  Rule
	Want  float64
	// Unit is that of Want, when it is no ratio.
	Unit result.Unit
}

// State of a target.
type State string

// The states.
const (
	Met        State = "met"
	Missed     State = "missed"
	Unmeasured State = "not measured"
)

// Verdict is what became of a target.
type Verdict struct {
	Target
	State State
	// Figure is ours, Against the other's, Reached what the rule makes of them.
	Figure, Against, Reached float64
	// Shown is the figures' unit.
	Shown result.Unit
	// Why says what is missing when a figure is.
	Why string
}

// Judge holds a report against targets.
func Judge(r *result.Report, targets []Target) []Verdict {
	verdicts := make([]Verdict, len(targets))
	for i, t := range targets {
		verdicts[i] = t.judge(r)
	}
	return verdicts
}

// SelectTargets are the targets on rows that are in a report.
func SelectTargets(r *result.Report, targets []Target) []Target {
	return slices.DeleteFunc(slices.Clone(targets), func(t Target) bool {
		_, ours := r.Row(t.Ours.Row)
		_, other := r.Row(t.Other.Row)
		return !ours || t.Rule != Below && !other
	})
}

func (t Target) judge(r *result.Report) Verdict {
	v := Verdict{Target: t, State: Unmeasured}
	row, _ := r.Row(t.Ours.Row)
	v.Shown = row.Unit
	ours, ok := r.SpreadOf(t.Ours.Row, t.Ours.Contender)
	if !ok {
		v.Why = t.Ours.missing(r)
		return v
	}
	other, ok := r.SpreadOf(t.Other.Row, t.Other.Contender)
	if !ok && t.Rule != Below {
		v.Why = t.Other.missing(r)
		return v
	}
	v.Figure, v.Against = ours.Median, other.Median
	var met bool
	v.Reached, met = t.reached(ours.Median, other.Median)
	v.State = Missed
	if met {
		v.State = Met
	}
	return v
}

func (t Target) reached(ours, other float64) (reached float64, met bool) {
	switch t.Rule {
	case Faster:
		reached = Ratio(other, ours)
		return reached, reached >= t.Want
	case Within:
		reached = Ratio(ours, other)
		return reached, reached <= t.Want
	case More:
		return ours - other, ours-other <= t.Want
	default:
		return ours, ours < t.Want
	}
}

func (s Side) missing(r *result.Report) string {
	for _, m := range r.Measurements {
		if m.Row == s.Row && m.Contender == s.Contender && m.Missing != "" {
			return fmt.Sprintf("%s, %s: %s", s.Row, s.Contender, m.Missing)
		}
	}
	return fmt.Sprintf("%s, %s: not in this run", s.Row, s.Contender)
}

// Ratio is a/b, where nothing against nothing is one, and something against
// nothing no number.
func Ratio(a, b float64) float64 {
	switch {
	case a == b:
		return 1
	case b == 0:
		return math.Inf(1)
	}
	return a / b
}
