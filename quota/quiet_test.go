package quota

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitQuiet(t *testing.T) {
	busy := func() time.Duration { return 0 }
	full := make(chan struct{}, 1)
	full <- struct{}{}
	ended, end := context.WithCancel(context.Background())
	end()
	for name, c := range map[string]struct {
		idleFor func() time.Duration
		ctx     context.Context
		hurry   <-chan struct{}
		want    time.Duration
	}{
		"nobody knows":       {nil, context.Background(), nil, 0},
		"quiet already":      {func() time.Duration { return quietTime }, context.Background(), nil, 0},
		"busy all the time":  {busy, context.Background(), nil, maxWait},
		"somebody needs one": {busy, context.Background(), full, 0},
		"the end":            {busy, ended, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := &Limiter{idleFor: c.idleFor}
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				l.awaitQuiet(c.ctx, c.hurry)
				equal(t, "wait", time.Since(began), c.want)
			})
		})
	}
	t.Run("after a call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			// A call runs for three seconds.
			l := &Limiter{idleFor: func() time.Duration { return max(0, time.Since(began)-3*time.Second) }}
			l.awaitQuiet(context.Background(), nil)
			equal(t, "wait", time.Since(began), 4*time.Second)
		})
	})
}
