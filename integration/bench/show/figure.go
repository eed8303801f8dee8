package show

import (
	"fmt"
	"math"
	"strconv"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// FormatFigure formats a value with its unit and three significant digits.
func FormatFigure(v float64, unit result.Unit) string {
	switch {
	case unit == result.Milliseconds && v >= 1000:
		return formatDigits(v/1000) + " s"
	case unit == result.Milliseconds:
		return formatDigits(v) + " ms"
	case unit == result.Bytes:
		return formatSize(v)
	case unit == result.Factor:
		return formatRatio(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func formatSize(v float64) string {
	const step = 1024
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if v < step {
			return formatDigits(v) + " " + unit
		}
		v /= step
	}
	return formatDigits(v) + " GiB"
}

// formatDigits formats a value with three significant digits, and all digits before the
// point.
func formatDigits(v float64) string {
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

// formatRatio formats a ratio.
func formatRatio(v float64) string {
	if math.IsInf(v, 0) {
		return "–"
	}
	return formatDigits(v) + "×"
}

// formatSpread formats the range of several samples.
func formatSpread(s result.Spread, unit result.Unit) string {
	if s.N < 2 {
		return ""
	}
	return FormatFigure(s.Min, unit) + " – " + FormatFigure(s.Max, unit)
}
