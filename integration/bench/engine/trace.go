package engine

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// printTrace prints the times of the plugin's calls since the engine's log had the size
// from.
func (r *race) printTrace(h *raceEngine, from int64) error {
	if !h.tracing || !h.isOurs() {
		return nil
	}
	raw, err := os.ReadFile(h.LogFile())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.Log, "  in the plugin, the clearing up afterwards included:\n%s", parseTally(string(raw[from:])))
	return err
}

func (h *raceEngine) logSize() (int64, error) {
	info, err := os.Stat(h.LogFile())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// callTally sums up calls by kind.
type callTally map[string]calls

type calls struct {
	op         string
	count      int
	sum, worst time.Duration
}

func (t *callTally) add(op string, took time.Duration) {
	if *t == nil {
		*t = make(callTally)
	}
	k := (*t)[op]
	(*t)[op] = calls{op, k.count + 1, k.sum + took, max(k.worst, took)}
}

func (t callTally) sum() (sum time.Duration) {
	for _, k := range t {
		sum += k.sum
	}
	return sum
}

// String returns a line for each kind, the most expensive first.
func (t callTally) String() string {
	var b strings.Builder
	for _, k := range slices.SortedFunc(maps.Values(t), func(a, b calls) int {
		return cmp.Or(cmp.Compare(b.sum, a.sum), strings.Compare(a.op, b.op))
	}) {
		mean := k.sum / time.Duration(k.count)
		fmt.Fprintf(&b, "    %-18s %4d calls %9.1f ms, %7.1f each, %8.1f at most\n", k.op, k.count, milliseconds(k.sum), milliseconds(mean), milliseconds(k.worst))
	}
	fmt.Fprintf(&b, "    %-18s %21.1f ms\n", "together", milliseconds(t.sum()))
	return b.String()
}

// tracedCall matches the plugin's log line, quoted in the engine's.
var tracedCall = regexp.MustCompile(`duration=(?:\\")?([0-9.a-zµ]+).* op=(?:\\")?([a-z -]+)`)

// parseTally sums up the plugin's calls in an engine's log. It skips other lines.
func parseTally(log string) (all callTally) {
	for line := range strings.Lines(log) {
		found := tracedCall.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		if took, err := time.ParseDuration(found[1]); err == nil {
			all.add(strings.TrimSpace(found[2]), took)
		}
	}
	return all
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
