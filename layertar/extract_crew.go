package layertar

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// maxHands bounds the goroutines of one extraction. More would wait for one
// another in the file system.
const maxHands = 4

// queued is how many jobs may wait for a hand: with chunkSize, a bound on memory.
const queued = 16

// crew makes a layer's files while the tar is read on: making one is several
// system calls, of which each processor can do some. Only regular files are
// made so; everything that their names or each other's could depend on is done
// by the reader, after drain where it has to be.
type crew struct {
	jobs   chan job
	way    sync.WaitGroup // jobs under way; only the reader adds and waits
	hands  sync.WaitGroup
	broken atomic.Bool // there is an err: the rest is not worth doing

	mu        sync.Mutex
	err       error
	conflicts []*smallFile // made by nobody, for something has their name
}

// job is work for one hand.
type job interface{ do(c *crew) }

func newCrew() *crew {
	c := &crew{jobs: make(chan job, queued)}
	for range min(maxHands, runtime.GOMAXPROCS(0)) {
		c.hands.Go(func() {
			for j := range c.jobs {
				j.do(c)
				c.way.Done()
			}
		})
	}
	return c
}

// give has a job done, some time before wait returns.
func (c *crew) give(j job) {
	c.way.Add(1)
	c.jobs <- j
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

// dismiss ends the crew.
func (c *crew) dismiss() {
	close(c.jobs)
	c.hands.Wait()
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

// heldDir is a directory that jobs work in, open as long as one of them does.
type heldDir struct {
	path  string
	fd    int
	users atomic.Int32
}

// hold opens dirfd once more for jobs; the caller is the first user.
func hold(path string, dirfd int) (*heldDir, error) {
	fd, err := fsat.Dup(dirfd)
	if err != nil {
		return nil, err
	}
	d := &heldDir{path: path, fd: fd}
	d.users.Store(1)
	return d, nil
}

func (d *heldDir) share() *heldDir {
	d.users.Add(1)
	return d
}

// release is by each user, once. Nothing was written through the descriptor.
func (d *heldDir) release() {
	if d.users.Add(-1) == 0 {
		fsat.CloseQuietly(d.fd)
	}
}
