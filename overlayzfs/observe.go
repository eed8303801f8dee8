package overlayzfs

import (
	"time"
)

// Observer is told of a store what is worth counting. It is called by many
// goroutines at once, and what is observed waits for it.
type Observer interface {
	// Opened is told of a store that may be asked for its Stats.
	Opened(*Driver)
	// Closed is told of one that has nothing more to say.
	Closed(*Driver)
	// Waited is told of each wait until something is on disk.
	Waited(b Barrier, took time.Duration, err error)
}

// Barrier is what a wait for the disk ends with.
type Barrier string

// The barriers.
const (
	Group     Barrier = "txg" // the transaction group is on disk
	IntentLog Barrier = "zil" // the intent log is
)

// unobserved is the Observer of a store that nobody counts.
type unobserved struct{}

func (unobserved) Opened(*Driver)                       {}
func (unobserved) Closed(*Driver)                       {}
func (unobserved) Waited(Barrier, time.Duration, error) {}

// waits tells the observer how long wait took.
func (d *Driver) waits(b Barrier, wait func() error) error {
	began := time.Now()
	err := wait()
	d.observer.Waited(b, time.Since(began), err)
	return err
}
