package quota

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Layers' project IDs come from a range of our own: 0x6f7a is "oz". Other programs count
// upwards from small numbers: Docker's overlay2 from 1, Incus from 10000, the kubelet from
// 1048577. Programs that keep IDs in a signed number stop at 2^31, above the range.
const (
	firstProject uint32 = 0x6f7a0000
	lastProject  uint32 = 0x6f7afffe
	probeProject uint32 = 0x6f7affff // no layer has it
)

// isOurProject reports whether a layer may have the ID.
func isOurProject(id uint32) bool { return id >= firstProject && id <= lastProject }

func isRecorded(id uint32, records map[string]*Record) bool {
	for _, r := range records {
		if r == nil || r.Project == id { // an unreadable record may have any ID
			return true
		}
	}
	return false
}

// projectIDs reserves project IDs. It goes round the range and begins at a random place after
// each start, so that the ID of a removed layer is not used again soon. ZFS never counts
// files that were made and deleted within one transaction group.
type projectIDs struct {
	loadRecords func() (map[string]*Record, error)
	isUnused    func(id uint32) (bool, error)

	mu       sync.Mutex
	reserved map[uint32]bool // nil until the records were read
	next     uint32
}

func newProjectIDs(all func() (map[string]*Record, error), unused func(id uint32) (bool, error)) *projectIDs {
	return &projectIDs{loadRecords: all, isUnused: unused, next: firstProject + rand.Uint32N(lastProject-firstProject+1)}
}

// reserve returns an ID that is not in use.
func (p *projectIDs) reserve() (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.loadReserved(); err != nil {
		return 0, err
	}
	for range lastProject - firstProject + 1 {
		id := p.advance()
		if p.reserved[id] {
			continue
		}
		free, err := p.isUnused(id)
		if err != nil {
			return 0, fmt.Errorf("find a free project ID: %w", err)
		}
		if free {
			p.reserved[id] = true
			return id, nil
		}
	}
	return 0, fault.NewWithRemedy(fault.LimitReached, "all %d project IDs for limited layers are in use; remove containers", lastProject-firstProject+1)
}

// loadReserved reads the IDs of the records, once.
func (p *projectIDs) loadReserved() error {
	if p.reserved != nil {
		return nil
	}
	records, err := p.loadRecords()
	if err != nil {
		return err
	}
	p.reserved = map[uint32]bool{}
	for _, r := range records {
		if r != nil {
			p.reserved[r.Project] = true
		}
	}
	return nil
}

func (p *projectIDs) advance() uint32 {
	id := p.next
	p.next++
	if p.next > lastProject {
		p.next = firstProject
	}
	return id
}

// release gives an ID back.
func (p *projectIDs) release(id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.reserved, id)
}

// projects limits each layer by a project ID on the store's dataset.
type projects struct {
	zfs      *zfs.Handle
	dataset  string
	ids      *projectIDs
	governor *governor
}

func newProjects(c Config, r records) *projects {
	p := &projects{zfs: c.ZFS, dataset: c.Dataset}
	p.ids = newProjectIDs(r.loadAll, p.isUnused)
	p.governor = newGovernor(p.kernelOps())
	return p
}

// kernelOps returns the governor's access to the kernel.
func (p *projects) kernelOps() kernelOps {
	return kernelOps{
		counters: newCounterFiles(p.dataset).read,
		readUsed: func(id uint32) (uint64, error) {
			usage, err := p.zfs.ProjectUsage(p.dataset, id)
			return usage.Bytes, err
		},
		setLimit: func(id uint32, l Limits) error {
			return p.zfs.SetProjectQuota(p.dataset, id, l.Bytes, l.Inodes)
		},
		endTxg: func(ctx context.Context) error { return p.zfs.SyncPool(ctx, zfs.PoolOf(p.dataset)) },
	}
}

// isUnused reports whether neither a file nor a limit has the ID. A file may belong to a
// removed layer that is still being deleted, or to another program.
func (p *projects) isUnused(id uint32) (bool, error) {
	usage, err := p.zfs.ProjectUsage(p.dataset, id)
	return usage == zfs.ProjectUsage{ID: id}, err
}

func (p *projects) reserve(r *Record) (err error) {
	r.Project, err = p.ids.reserve()
	return err
}

// make gives the layer's directories the project ID while they are empty. Files that are made
// in them inherit it. Overlayfs moves files between the two directories, so both have it.
func (p *projects) make(layer Layer, r Record, fill func(dir string) error) error {
	if err := fill(layer.Dir); err != nil {
		return err
	}
	for _, name := range contentDirs {
		err := setProjectID(filepath.Join(layer.Dir, name), r.Project)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return p.governor.set(layer.Key, r)
}

func setProjectID(dir string, id uint32) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return zfs.SetProjectID(f, id, true)
}

// attach only begins to watch the limit, because the content is always reachable.
func (p *projects) attach(layer Layer, r Record) error { return p.governor.add(layer.Key, r) }

func (p *projects) detach(layer Layer, _ Record) error { return p.governor.remove(layer.Key) }

func (p *projects) set(layer Layer, r Record) error { return p.governor.set(layer.Key, r) }

func (p *projects) usage(_ Layer, r Record) (Usage, error) {
	usage, err := p.zfs.ProjectUsage(p.dataset, r.Project)
	return Usage{Bytes: usage.Bytes, Inodes: usage.Objects}, err
}

// discard deletes the limit. The layer's files are deleted with the layer, and the ID is not
// used again before.
func (p *projects) discard(_ context.Context, key string, r Record) error {
	p.governor.forget(key)
	if err := p.zfs.SetProjectQuota(p.dataset, r.Project, 0, 0); err != nil {
		return err
	}
	p.ids.release(r.Project)
	return nil
}

// sweep deletes limits that no layer has. It keeps the limits of IDs that files still have.
// Those may belong to a layer with an unreadable record, or to another store on the dataset.
func (p *projects) sweep(ctx context.Context, all func() (map[string]*Record, error)) error {
	found, err := p.zfs.Projects(p.dataset)
	if errors.Is(err, zfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	recorded, err := all()
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(p zfs.ProjectUsage) bool {
		return !isOurProject(p.ID) || hasFiles(p) || isRecorded(p.ID, recorded)
	})
	if len(found) == 0 {
		return nil
	}
	// The directories of a new layer are not counted yet. They get the ID before the ID gets
	// its limit.
	if err := p.zfs.SyncPool(ctx, zfs.PoolOf(p.dataset)); err != nil {
		return err
	}
	for _, project := range found {
		if err := p.clearLimit(project.ID); err != nil {
			return err
		}
	}
	return nil
}

func hasFiles(p zfs.ProjectUsage) bool { return p.Bytes > 0 || p.Objects > 0 }

// clearLimit deletes a limit unless files have the ID.
func (p *projects) clearLimit(id uint32) error {
	now, err := p.zfs.ProjectUsage(p.dataset, id)
	if err != nil || hasFiles(now) {
		return err
	}
	logrus.WithField("project", id).Info("a project quota of no layer is deleted")
	return p.zfs.SetProjectQuota(p.dataset, id, 0, 0)
}

func (p *projects) close() { p.governor.close() }
