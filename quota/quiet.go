package quota

import (
	"context"
	"time"
)

// Making a dataset takes processor time, and transaction groups, from containers that start or
// end at the same moment. So the making of a spare waits until the store ran no call for
// quietTime, or until maxWait is over.
const (
	quietTime = time.Second
	maxWait   = 10 * time.Second
)

// awaitQuiet waits for a quiet moment, until hurry gives something, or until ctx
// ends.
func (l *Limiter) awaitQuiet(ctx context.Context, hurry <-chan struct{}) {
	if l.idleFor == nil {
		return
	}
	for end := time.Now().Add(maxWait); ; {
		wait := min(quietTime-l.idleFor(), time.Until(end))
		if wait <= 0 {
			return
		}
		select {
		case <-time.After(wait):
		case <-hurry:
			return
		case <-ctx.Done():
			return
		}
	}
}
