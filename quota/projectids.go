package quota

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Project IDs of layers come from a range of our own: 0x6f7a is "oz". Others
// count upwards from small numbers (docker's overlay2 from 1, Incus from 10000,
// the kubelet from 1048577), and programs that keep IDs in a signed number stop
// at 2^31, which the range lies below.
const (
	firstProject uint32 = 0x6f7a0000
	lastProject  uint32 = 0x6f7afffe
	probeProject uint32 = 0x6f7affff // never a layer's
)

// ours reports whether an ID is one that a layer may have.
func ours(id uint32) bool { return id >= firstProject && id <= lastProject }

func isRecorded(id uint32, records map[string]*Record) bool {
	for _, r := range records {
		if r == nil || r.Project == id { // one that cannot be read may have any
			return true
		}
	}
	return false
}

// projectIDs hands out project IDs. They go round the range from a place that
// differs with each start, so that an ID is not used again soon after the
// layer that had it was deleted: files that were made and deleted within one
// transaction group were never counted.
type projectIDs struct {
	all    func() (map[string]*Record, error)
	unused func(id uint32) (bool, error)

	mu    sync.Mutex
	taken map[uint32]bool // nil until the records were read
	next  uint32
}

func newProjectIDs(all func() (map[string]*Record, error), unused func(id uint32) (bool, error)) *projectIDs {
	return &projectIDs{all: all, unused: unused, next: firstProject + rand.Uint32N(lastProject-firstProject+1)}
}

// reserve returns an ID that nobody has.
func (p *projectIDs) reserve() (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(); err != nil {
		return 0, err
	}
	for range lastProject - firstProject + 1 {
		id := p.step()
		if p.taken[id] {
			continue
		}
		free, err := p.unused(id)
		if err != nil {
			return 0, fmt.Errorf("find a free project ID: %w", err)
		}
		if free {
			p.taken[id] = true
			return id, nil
		}
	}
	return 0, fault.NewWithRemedy(fault.LimitReached, "all %d project IDs for limited layers are in use; remove containers", lastProject-firstProject+1)
}

// load reads which IDs the records have, once.
func (p *projectIDs) load() error {
	if p.taken != nil {
		return nil
	}
	records, err := p.all()
	if err != nil {
		return err
	}
	p.taken = map[uint32]bool{}
	for _, r := range records {
		if r != nil {
			p.taken[r.Project] = true
		}
	}
	return nil
}

func (p *projectIDs) step() uint32 {
	id := p.next
	p.next++
	if p.next > lastProject {
		p.next = firstProject
	}
	return id
}

// release takes an ID back.
func (p *projectIDs) release(id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, id)
}
