package quota

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// busyController is busy for a number of attempts.
type busyController struct {
	fakeController
	tries []time.Time
	busy  int
	then  error
}

func (b *busyController) discard(context.Context, string, Record) error {
	b.tries = append(b.tries, time.Now())
	if len(b.tries) <= b.busy {
		return fault.Busy
	}
	return b.then
}

func (b *busyController) limiter(t *testing.T) *Limiter {
	l := fakeLimiter(t, &b.fakeController, Dataset)
	l.controllers[Dataset] = b
	must(t, l.records.save(testKey, Record{Layer: "x", Mode: Dataset}))
	return l
}

func TestBusyDatasetsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &busyController{busy: 20}
		l := b.limiter(t)
		defer l.Close()
		must(t, l.Discard(testKey))
		time.Sleep(time.Hour)
		synctest.Wait()
		equal(t, "tries", len(b.tries), 21)
		equal(t, "the first pause", b.tries[1].Sub(b.tries[0]), busyPauses.First)
		equal(t, "the second pause", b.tries[2].Sub(b.tries[1]), 2*busyPauses.First)
		equal(t, "the last pause", b.tries[20].Sub(b.tries[19]), busyPauses.Most)
		if r, err := l.Find(testKey); r != nil || err != nil {
			t.Errorf("the record stayed: %v, %v", r, err)
		}
	})
}

func TestTryingEnds(t *testing.T) {
	for name, b := range map[string]*busyController{
		"with the limiter":      {busy: 1000},
		"with another failure":  {busy: 3, then: errors.New("broken")},
		"with one at the start": {then: errors.New("broken")},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := b.limiter(t)
			err := l.Discard(testKey)
			time.Sleep(10 * time.Second)
			l.Close()
			tries := len(b.tries)
			time.Sleep(time.Hour)
			equal(t, name+": tries after that", len(b.tries), tries)
			if (err != nil) != (b.busy == 0) {
				t.Errorf("%s: %v", name, err)
			}
			if r, err := l.Find(testKey); r == nil || err != nil {
				t.Errorf("%s: the next start finds no record: %v", name, err)
			}
		})
	}
}
