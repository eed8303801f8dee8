package snapshot

import "time"

// due reports whether an interval's next snapshot is to be taken. last is when
// the newest was taken, zero for none, and born when the layers dataset was
// made, all by the clocks of their times.
//
// A newest one from the future means that the clock was set back. If it is
// ahead by less than an interval the clock gets there soon enough. If by more,
// the next is taken now, and becomes the newest, so that it is once only; but
// not while the clock shows a time before the dataset was made: a machine
// without a battery starts in 1970 and learns the time later.
func due(now, last, born time.Time, every time.Duration) bool {
	if last.IsZero() {
		return true
	}
	age := now.Sub(last)
	if age <= -every {
		return !now.Before(born)
	}
	return age >= every
}
