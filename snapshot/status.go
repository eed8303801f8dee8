package snapshot

import (
	"fmt"
	"strings"
)

// Status is what `docker info` shows: one line, and one more for what failed
// last. It asks nothing of the pool.
func (k *Scheduler) Status() [][2]string {
	if k == nil {
		return [][2]string{{"Snapshots", "off"}}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	lines := [][2]string{{"Snapshots", k.summary()}}
	for _, t := range []trouble{k.taking, k.pruning} {
		if t.last != "" {
			lines = append(lines, [2]string{"Snapshots Failure", t.last})
		}
	}
	return lines
}

// summary is such as "7 (stop 3/3, daily 4/7)": how many there are, and how
// many of how many at most of each event that the policy names.
func (k *Scheduler) summary() string {
	if !k.counted {
		return "not counted yet (" + k.config.Policy.String() + ")"
	}
	total := 0
	for _, n := range k.counts {
		total += n
	}
	var parts []string
	for _, e := range events {
		if keep, ok := k.config.Policy[e]; ok {
			parts = append(parts, fmt.Sprintf("%s %d/%d", e, k.counts[e], keep))
		}
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}
