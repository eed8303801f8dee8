package engine

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// trace prints what the plugin's calls took since its engine's log had a size.
func (r *race) trace(h *house, from int64) error {
	if !r.Trace || !h.ours() {
		return nil
	}
	raw, err := os.ReadFile(h.LogFile())
	if err != nil {
		return err
	}
	return printCalls(r.Log, callsIn(string(raw[from:])))
}

func (h *house) logSize() (int64, error) {
	info, err := os.Stat(h.LogFile())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// calls are those of one kind.
type calls struct {
	op         string
	count      int
	sum, worst time.Duration
}

// traced matches what is left of the plugin's line in the engine's, where it is
// quoted.
var traced = regexp.MustCompile(`duration=(?:\\")?([0-9.a-zµ]+).* op=(?:\\")?([a-z -]+)`)

// callsIn adds up the calls in an engine's log, the dearest kind first. Lines
// that say nothing of a call are passed over.
func callsIn(log string) []calls {
	kinds := make(map[string]calls)
	for line := range strings.Lines(log) {
		found := traced.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		took, err := time.ParseDuration(found[1])
		if err != nil {
			continue
		}
		op := strings.TrimSpace(found[2])
		k := kinds[op]
		kinds[op] = calls{op, k.count + 1, k.sum + took, max(k.worst, took)}
	}
	return slices.SortedFunc(maps.Values(kinds), func(a, b calls) int {
		return cmp.Or(cmp.Compare(b.sum, a.sum), strings.Compare(a.op, b.op))
	})
}

func printCalls(to io.Writer, kinds []calls) error {
	var total time.Duration
	for _, k := range kinds {
		total += k.sum
		mean := k.sum / time.Duration(k.count)
		if _, err := fmt.Fprintf(to, "    %-20s %4d calls %9.1f ms, %7.1f each, %8.1f at most\n", k.op, k.count, ms(k.sum), ms(mean), ms(k.worst)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(to, "    in the plugin's calls: %.1f ms\n", ms(total))
	return err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
