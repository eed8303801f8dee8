// Package retry tries again what can succeed later, with growing pauses.
package retry

import (
	"context"
	"iter"
	"time"
)

// Pauses are pauses between tries. Each is twice as long as the one before it.
type Pauses struct {
	First time.Duration // the first pause
	Most  time.Duration // the longest pause
}

// Each yields after each pause, until ctx ends.
func (p Pauses) Each(ctx context.Context) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for pause := p.First; ; pause = min(2*pause, p.Most) {
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			if !yield(pause) {
				return
			}
		}
	}
}

// While calls try at once, and again after each pause while its error is transient and ctx
// lasts. It returns the last error of try.
func (p Pauses) While(ctx context.Context, isTransient func(error) bool, try func() error) error {
	err := try()
	if !isTransient(err) {
		return err
	}
	for range p.Each(ctx) {
		if err = try(); !isTransient(err) {
			return err
		}
	}
	return err
}
