package show

import (
	"fmt"
	"math"
	"strconv"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Figure writes a value as people read it, with three digits that count.
func Figure(v float64, unit result.Unit) string {
	switch {
	case unit == result.Milliseconds && v >= 1000:
		return digits(v/1000) + " s"
	case unit == result.Milliseconds:
		return digits(v) + " ms"
	case unit == result.Bytes:
		return size(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func size(v float64) string {
	const step = 1024
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if v < step {
			return digits(v) + " " + unit
		}
		v /= step
	}
	return digits(v) + " GiB"
}

// digits keeps three digits that count, and all before the point.
func digits(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// times writes a ratio.
func times(v float64) string {
	if math.IsInf(v, 0) {
		return "–"
	}
	return digits(v) + "×"
}

// spread writes from where to where samples reach, if there are several.
func spread(s result.Spread, unit result.Unit) string {
	if s.N < 2 {
		return ""
	}
	return Figure(s.Min, unit) + " – " + Figure(s.Max, unit)
}
