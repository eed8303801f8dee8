package ctxlock

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sync/semaphore"
)

// RW is held by any number of shared holders or by one exclusive holder. Waiters get it in
// the order in which they came.
type RW struct{ weights *semaphore.Weighted }

const (
	shared    = 1
	exclusive = math.MaxInt64
)

// NewRW returns an RW that nobody holds.
func NewRW() RW { return RW{semaphore.NewWeighted(exclusive)} }

// RLock takes the lock shared, and returns the function that releases it. It fails when ctx
// ends first.
func (rw RW) RLock(ctx context.Context) (release func(), err error) { return rw.take(ctx, shared) }

// Lock takes the lock exclusively, and returns the function that releases it. It fails when
// ctx ends first.
func (rw RW) Lock(ctx context.Context) (release func(), err error) { return rw.take(ctx, exclusive) }

func (rw RW) take(ctx context.Context, weight int64) (release func(), err error) {
	if err := rw.weights.Acquire(ctx, weight); err != nil {
		return nil, fmt.Errorf("wait for other calls: %w", context.Cause(ctx))
	}
	return func() { rw.weights.Release(weight) }, nil
}
