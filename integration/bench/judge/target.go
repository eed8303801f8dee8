package judge

import (
	"fmt"
	"math"
	"slices"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Side is a figure: the median of a contender in a row.
type Side struct{ Row, Contender string }

// Rule says how our figure compares with another.
type Rule string

// Rules. Figures are costs: twice as fast means half the figure.
const (
	Faster Rule = "at least %g times as fast" // the other's, divided by ours
	Within Rule = "at most %g times"          // ours, divided by the other
	More   Rule = "at most %g more"           // ours, less the other
	Below  Rule = "below %g"                  // ours alone
)

// Target is a promise of a release.
type Target struct {
	Title string
	Ours  Side
	Other Side // zero with Below
	Rule  Rule
	Want  float64
	// Unit is the unit of Want, unless that is a ratio.
	Unit result.Unit
	// Reason says why the target is missed and what would be needed. It is shown with a
	// miss only.
	Reason string
}

// State is the state of a target.
type State string

// States of a target.
const (
	Met        State = "met"
	Missed     State = "missed"
	Unmeasured State = "not measured"
)

// Verdict is a target with its result.
type Verdict struct {
	Target
	State State
	// Figure is ours, Against is the other's, Reached is what the rule computes from
	// both.
	Figure, Against, Reached float64
	// Shown is the unit of the figures.
	Shown result.Unit
	// Why names a missing figure.
	Why string
}

// Judge compares a report with targets.
func Judge(r *result.Report, targets []Target) []Verdict {
	verdicts := make([]Verdict, len(targets))
	for i, t := range targets {
		verdicts[i] = t.judge(r)
	}
	return verdicts
}

// SelectTargets returns the targets whose rows are in a report.
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

// Ratio returns a/b: one when both are zero, infinity when only b is.
func Ratio(a, b float64) float64 {
	switch {
	case a == b:
		return 1
	case b == 0:
		return math.Inf(1)
	}
	return a / b
}
