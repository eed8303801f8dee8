// Package result holds what a race measured: rows, who ran in them, and the
// samples each gave, as values and as JSON. All figures are costs: less is
// better.
//
// It neither measures nor judges: integration/bench/race measures, and
// integration/bench/judge knows targets and former releases.
package result
