package result

import "slices"

// Spread is what several samples come to.
type Spread struct {
	Median, Min, Max float64
	N                int
}

// Spread summarizes samples.
func (m Measurement) Spread() Spread { return MeasureSpread(m.Samples) }

// MeasureSpread returns the spread of samples, or zero without samples.
func MeasureSpread(samples []float64) Spread {
	if len(samples) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	return Spread{
		Median: (sorted[(n-1)/2] + sorted[n/2]) / 2,
		Min:    sorted[0],
		Max:    sorted[n-1],
		N:      n,
	}
}
