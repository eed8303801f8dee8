package judge

import (
	"cmp"
	"slices"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Win is a row in which a peer is better than ours.
type Win struct {
	Row        result.Row
	Peer       string
	Ours, Them float64
	// Ratio is our figure divided by the peer's: above one.
	Ratio float64
	// Sure is false when the samples overlap.
	Sure bool
	// Once is true when one side has a single sample, whose spread is unknown.
	Once bool
}

// unitOrder is the order of units in a list of wins.
var unitOrder = map[result.Unit]int{result.Milliseconds: 0, result.Bytes: 1, result.Count: 2}

// rivals maps each peer to the one of ours that runs under like conditions.
var rivals = map[string]string{
	result.ZFS:         result.Ours,
	result.Overlay2:    result.Ours,
	result.VFS:         result.Ours,
	result.Overlay2Dis: result.OursDisabled,

	result.ContainerdOverlayfs: result.Snapshotter,
	result.ContainerdZFS:       result.Snapshotter,
}

// Wins lists the rows in which a peer is better: times, then sizes, the worst first.
// tmpfs and GNU tools are limits, not peers.
func Wins(r *result.Report) []Win {
	var wins []Win
	for _, m := range r.Measurements {
		ours, known := r.SpreadOf(m.Row, rivals[m.Contender])
		them, measured := r.SpreadOf(m.Row, m.Contender)
		if !known || !measured || them.Median >= ours.Median {
			continue
		}
		row, _ := r.Row(m.Row)
		wins = append(wins, Win{
			Row: row, Peer: m.Contender, Ours: ours.Median, Them: them.Median,
			Ratio: Ratio(ours.Median, them.Median), Sure: them.Max < ours.Min, Once: min(ours.N, them.N) < 2,
		})
	}
	slices.SortStableFunc(wins, func(a, b Win) int {
		return cmp.Or(unitOrder[a.Row.Unit]-unitOrder[b.Row.Unit], cmp.Compare(b.Ratio, a.Ratio))
	})
	return wins
}
