package quota

import "time"

// account is what the governor knows of one layer's space.
type account struct {
	limit uint64
	used  uint64   // as of a transaction group that ended
	base  counters // what is written above this may not be in used yet
}

// pending is the most that may have been written to the layer and is not in
// used: what calls that returned have written, or what memory holds, since a
// call that goes on is counted only there.
func (a account) pending(now counters) uint64 {
	if now.written < a.base.written {
		return max(now.written, now.dirty) // the dataset was mounted anew
	}
	return max(now.written-a.base.written, now.dirty-min(now.dirty, a.base.dirty))
}

// free is what the layer may still take, as far as is known for sure.
func (a account) free() uint64 { return a.limit - min(a.limit, a.used) }

// slack is free less what may be pending.
func (a account) slack(now counters) uint64 { return a.free() - min(a.free(), a.pending(now)) }

// verdict is what is to be done about a layer.
type verdict int

const (
	carryOn verdict = iota
	know            // have a transaction group end, so that used is known better
	stop            // and have nothing written until it has
	full            // nothing: the kernel refuses by itself
)

// judge decides. Half of what is free may be written before it is worth a
// transaction group: that way their number grows with the logarithm of what is
// free.
func (a account) judge(now counters) verdict {
	switch pending := a.pending(now); {
	case a.used >= a.limit:
		return full
	case pending >= a.free():
		return stop
	case pending >= a.free()/2:
		return know
	}
	return carryOn
}

// Bounds of the pause between two looks at the counters. The rate is what one
// may expect to be written at most: half of the slack is left to be used until
// the next look.
const (
	topRate     = 1 << 30 // bytes a second
	pauseLeast  = 5 * time.Millisecond
	pauseIdle   = 50 * time.Millisecond // the least while nothing is written
	pauseMost   = time.Second
	idleAfter   = time.Second
	pauseFull   = 100 * time.Millisecond // between looks at a full layer's usage
	pauseFailed = time.Second
)

// pause is how long the counters need no look when a layer has that slack.
func pause(slack uint64, idle bool) time.Duration {
	least := pauseLeast
	if idle {
		least = pauseIdle
	}
	most := uint64(pauseMost/time.Millisecond) * topRate / 1000
	half := min(slack/2, most)
	return max(least, time.Duration(half*1000/topRate)*time.Millisecond)
}
