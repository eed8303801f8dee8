package judge

import (
	"math"
	"slices"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Slower is a row in which ours is slower than in a former run.
type Slower struct {
	Row       result.Row
	Contender string // one of ours
	// Factor is the loss beyond the noise, against the peer that shows the smallest
	// loss.
	Factor float64
	Peer   string
}

// noiseFloor is the factor by which two runs of one program differ, although the
// samples of each run agree: a first guess, from emulated machines.
const noiseFloor = 1.25

// ourNames are the contenders that are ours.
var ourNames = []string{result.Ours, result.OursDisabled, result.OursInProcess, result.Snapshotter, result.SnapshotterInProcess}

// SlowerThan lists the rows that are slower than in a former run. Machines differ, so
// it compares ours relative to each peer of the same run. A loss has to exceed the
// spread of both runs against every peer: a peer's bad day is not our loss.
func SlowerThan(former, now *result.Report) []Slower {
	var slower []Slower
	for _, m := range now.Measurements {
		if !slices.Contains(ourNames, m.Contender) {
			continue
		}
		factor, peer := measureLoss(former, now, m)
		if factor > 1 {
			row, _ := now.Row(m.Row)
			slower = append(slower, Slower{row, m.Contender, factor, peer})
		}
	}
	return slower
}

// measureLoss returns the smallest loss of ours against a peer, beyond the noise, or
// zero when nothing can be compared.
func measureLoss(former, now *result.Report, ours result.Measurement) (least float64, peer string) {
	least = math.Inf(1)
	for _, m := range now.Measurements {
		if m.Row != ours.Row || slices.Contains(ourNames, m.Contender) {
			continue
		}
		factor, ok := measureLossAgainst(former, now, ours, m.Contender)
		if ok && factor < least {
			least, peer = factor, m.Contender
		}
	}
	if peer == "" {
		return measureLossAlone(former, now, ours)
	}
	return least, peer
}

func measureLossAgainst(former, now *result.Report, ours result.Measurement, peer string) (factor float64, ok bool) {
	var spreads [4]result.Spread
	for i, of := range []struct {
		report    *result.Report
		contender string
	}{{former, ours.Contender}, {former, peer}, {now, ours.Contender}, {now, peer}} {
		if spreads[i], ok = of.report.SpreadOf(ours.Row, of.contender); !ok {
			return 0, false
		}
	}
	for _, s := range spreads {
		if s.Median == 0 {
			return 0, false // a contender's zero, which measures nothing
		}
	}
	return excess(spreads[0], spreads[1], spreads[2], spreads[3]), true
}

// measureLossAlone compares a row that no peer has. Memory and threads compare
// directly, times by the machine's pace.
func measureLossAlone(former, now *result.Report, ours result.Measurement) (float64, string) {
	row, _ := now.Row(ours.Row)
	then, ok := former.SpreadOf(ours.Row, ours.Contender)
	measured, okNow := now.SpreadOf(ours.Row, ours.Contender)
	if !ok || !okNow || then.Max == 0 {
		return 0, ""
	}
	pace := 1.0
	if row.Unit == result.Milliseconds {
		pace = machinePace(former, now)
	}
	return Ratio(measured.Min, then.Max*pace) / noiseFloor, "itself"
}

// machinePace returns how much longer peers take now: the median over all their times.
func machinePace(former, now *result.Report) float64 {
	var ratios []float64
	for _, m := range now.Measurements {
		row, _ := now.Row(m.Row)
		if row.Unit != result.Milliseconds || slices.Contains(ourNames, m.Contender) {
			continue
		}
		then, before := former.SpreadOf(m.Row, m.Contender)
		measured, after := now.SpreadOf(m.Row, m.Contender)
		if before && after && then.Median > 0 {
			ratios = append(ratios, measured.Median/then.Median)
		}
	}
	if len(ratios) == 0 {
		return math.Inf(1) // without a yardstick there is no loss
	}
	return result.MeasureSpread(ratios).Median
}

// excess returns the smallest possible ratio of ours to the peer now, divided by the
// largest possible ratio then.
func excess(oursThen, peerThen, oursNow, peerNow result.Spread) float64 {
	then := Ratio(oursThen.Max, peerThen.Min)
	now := Ratio(oursNow.Min, peerNow.Max)
	return Ratio(now, then) / noiseFloor
}
