package judge

import (
	"math"
	"slices"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Slower is a row in which ours lost ground since a former run.
type Slower struct {
	Row       result.Row
	Contender string // which of ours
	// Factor is by how much more than the noise explains, against the peer that
	// shows the least of it.
	Factor float64
	Peer   string
}

// noiseFloor is what two runs of one program differ by although the samples of
// each agree: a first guess, from emulated machines.
const noiseFloor = 1.25

// ourNames are which contenders are ours.
var ourNames = []string{result.Ours, result.OursDisabled, result.OursInProcess, result.Snapshotter, result.SnapshotterInProcess}

// SlowerThan lists what got slower since a former run. Machines differ, so it is
// not times that are compared but what ours needs relative to each peer of the
// same run, which has to be beyond the spread of both runs against every peer:
// a peer that had a bad day is no slowdown of ours.
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

// measureLoss is the least of what ours lost against each peer, beyond the noise;
// zero when there is nothing to compare.
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
			return 0, false // what others gave back meanwhile: no measure
		}
	}
	return excess(spreads[0], spreads[1], spreads[2], spreads[3]), true
}

// measureLossAlone compares what no peer has: memory and threads as they are, times by
// how fast the machine is now.
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

// machinePace is how much longer peers need now: the median over all their times.
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
		return math.Inf(1) // no yardstick: nothing to say
	}
	return result.MeasureSpread(ratios).Median
}

// excess is by how much the least that ours may need now, relative to the peer,
// exceeds the most that it may have needed then.
func excess(oursThen, peerThen, oursNow, peerNow result.Spread) float64 {
	then := Ratio(oursThen.Max, peerThen.Min)
	now := Ratio(oursNow.Min, peerNow.Max)
	return Ratio(now, then) / noiseFloor
}
