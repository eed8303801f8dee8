package quota

import (
	"testing"
	"time"
)

// TestKeysOfSpares: they are keys, differ, and are in the order of their making.
func TestKeysOfSpares(t *testing.T) {
	last := "ZY7777777777777777777777777"[:26]
	seen := map[string]bool{}
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(1_764_500_000, 0), time.Unix(1_764_500_000, 2_000_000), time.Unix(1_764_500_001, 0), time.Unix(1<<37, 0)} {
		key := newSpareKey(at)
		if !IsKey(key) || key <= last {
			t.Errorf("%s after %s", key, last)
		}
		last = key
		for range 100 {
			again := newSpareKey(at)
			if seen[again] {
				t.Errorf("%s twice", again)
			}
			seen[again] = true
		}
	}
}
