package retry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errBusy = errors.New("busy")
	errGone = errors.New("gone")
)

func isBusy(err error) bool { return errors.Is(err, errBusy) }

// TestWhile: outcomes are those of the tries; the last of them repeats.
func TestWhile(t *testing.T) {
	for name, c := range map[string]struct {
		outcomes []error
		limit    time.Duration
		want     error
		tries    []time.Duration // since the beginning
	}{
		"at once":    {[]error{nil}, time.Hour, nil, []time.Duration{0}},
		"refused":    {[]error{errGone}, time.Hour, errGone, []time.Duration{0}},
		"later":      {[]error{errBusy, errBusy, errBusy, errBusy, nil}, time.Hour, nil, []time.Duration{0, 2, 6, 13, 20}},
		"then gone":  {[]error{errBusy, errGone}, time.Hour, errGone, []time.Duration{0, 2}},
		"never":      {[]error{errBusy}, 14, errBusy, []time.Duration{0, 2, 6, 13}},
		"no time":    {[]error{errBusy}, 1, errBusy, []time.Duration{0}},
		"ended ctx":  {[]error{nil}, 0, nil, []time.Duration{0}},
		"ended, bad": {[]error{errGone}, 0, errGone, []time.Duration{0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				began := time.Now()
				var tries []time.Duration
				err := Pauses{First: 2, Most: 7}.While(ctx, isBusy, func() error {
					tries = append(tries, time.Since(began))
					return c.outcomes[min(len(tries), len(c.outcomes))-1]
				})
				if !errors.Is(err, c.want) || !slices.Equal(tries, c.tries) {
					t.Errorf("ended with %v after tries at %d, want %v and %d", err, tries, c.want, c.tries)
				}
			})
		})
	}
}

func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		pauses := slices.Collect(Pauses{First: time.Second, Most: 3 * time.Second}.Each(ctx))
		if want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}; !slices.Equal(pauses, want) {
			t.Errorf("pauses of %v, want %v", pauses, want)
		}
	})
}
