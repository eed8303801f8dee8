package layertar

import (
	"sync"
	"sync/atomic"
)

// crew makes a layer's files while the tar is read on. Only regular files are
// made so; everything that their names or each other's could depend on is done
// by the reader, after a wait where it has to be.
type crew struct {
	*hands
	way    sync.WaitGroup // jobs under way; only the reader adds and waits
	broken atomic.Bool    // there is an err: the rest is not worth doing

	mu        sync.Mutex
	err       error
	conflicts []*smallFile // made by nobody, for something has their name
}

func newCrew() *crew { return &crew{hands: newHands()} }

// job is work for one hand.
type job interface{ do(c *crew) }

// give has a job done, some time before wait returns.
func (c *crew) give(j job) {
	c.way.Add(1)
	c.hands.give(func() {
		defer c.way.Done()
		j.do(c)
	})
}

// wait waits for all jobs and returns those that could not be done because
// something has the file's name.
func (c *crew) wait() []*smallFile {
	c.way.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	conflicts := c.conflicts
	c.conflicts = nil
	return conflicts
}

// failure is the first error.
func (c *crew) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *crew) fail(path string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = inEntry(path, err)
	}
	c.broken.Store(true)
}

func (c *crew) conflict(f *smallFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conflicts = append(c.conflicts, f)
}
