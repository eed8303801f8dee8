package overlayzfs

import (
	"time"
)

// Observer is told of a store what is worth counting. It is called by many
// goroutines at once, and what is observed waits for it.
type Observer interface {
	// ObserveOpen is told of a store that may be asked for its Stats.
	ObserveOpen(*Driver)
	// ObserveClose is told of one that has nothing more to say.
	ObserveClose(*Driver)
	// ObserveBarrier is told of each wait until something is on disk.
	ObserveBarrier(b Barrier, took time.Duration, err error)
}

// CommitNames is what a wait for the disk ends with.
type Barrier string

// The barriers.
const (
	TxgBarrier       Barrier = "txg" // the transaction group is on disk
	IntentLogBarrier Barrier = "zil" // the intent log is
)

// unobserved is the Observer of a store that nobody counts.
type unobserved struct{}

func (unobserved) ObserveOpen(*Driver)                          {}
func (unobserved) ObserveClose(*Driver)                         {}
func (unobserved) ObserveBarrier(Barrier, time.Duration, error) {}

// waits tells the observer how long wait took.
func (d *Driver) waits(b Barrier, wait func() error) error {
	began := time.Now()
	err := wait()
	d.observer.ObserveBarrier(b, time.Since(began), err)
	return err
}
