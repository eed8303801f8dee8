package quota

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// projects limits layers by a project ID each, on the store's one dataset.
type projects struct {
	zfs      *zfs.Handle
	dataset  string
	ids      *projectIDs
	governor *governor
}

func newProjects(c Config, r records) *projects {
	p := &projects{zfs: c.ZFS, dataset: c.Dataset}
	p.ids = newProjectIDs(r.all, p.unused)
	p.governor = newGovernor(p.kernel())
	return p
}

// kernel is what the governor works with.
func (c *projects) kernel() governed {
	return governed{
		counters: newCounterFiles(c.dataset).read,
		used: func(id uint32) (uint64, error) {
			usage, err := c.zfs.ProjectUsage(c.dataset, id)
			return usage.Bytes, err
		},
		limit: func(id uint32, l Limits) error {
			return c.zfs.SetProjectQuota(c.dataset, id, l.Bytes, l.Inodes)
		},
		sync: func(ctx context.Context) error { return c.zfs.SyncPool(ctx, zfs.PoolOf(c.dataset)) },
	}
}

// unused reports whether neither a file nor a limit has the ID: not one of
// ours that is still being deleted, nor one of somebody else's.
func (c *projects) unused(id uint32) (bool, error) {
	usage, err := c.zfs.ProjectUsage(c.dataset, id)
	return usage == zfs.ProjectUsage{ID: id}, err
}

func (c *projects) reserve(r *Record) (err error) {
	r.Project, err = c.ids.reserve()
	return err
}

// make gives the layer's directories the project ID while they are empty: what
// is made in them later inherits it. Overlayfs moves files between the two, so
// both have it.
func (c *projects) make(p Layer, r Record, fill func(dir string) error) error {
	if err := fill(p.Dir); err != nil {
		return err
	}
	for _, name := range contents {
		err := setProject(filepath.Join(p.Dir, name), r.Project)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return c.governor.set(p.Key, r)
}

func setProject(dir string, id uint32) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return zfs.SetProjectID(f, id, true)
}

// attach only has the limit watched over: the content is where it always is.
func (c *projects) attach(p Layer, r Record) error { return c.governor.add(p.Key, r) }

func (c *projects) detach(p Layer, _ Record) error { return c.governor.remove(p.Key) }

func (c *projects) set(p Layer, r Record) error { return c.governor.set(p.Key, r) }

func (c *projects) usage(_ Layer, r Record) (Usage, error) {
	usage, err := c.zfs.ProjectUsage(c.dataset, r.Project)
	return Usage{Bytes: usage.Bytes, Inodes: usage.Objects}, err
}

// discard takes the limit away. The layer's files go with the layer, and until
// they have gone the ID is not used again.
func (c *projects) discard(_ context.Context, key string, r Record) error {
	c.governor.forget(key)
	if err := c.zfs.SetProjectQuota(c.dataset, r.Project, 0, 0); err != nil {
		return err
	}
	c.ids.release(r.Project)
	return nil
}

// sweep takes away limits that no layer has. Those of IDs that files still have
// are kept: they may be of a layer whose record cannot be read, or of another
// store on the dataset.
func (c *projects) sweep(ctx context.Context, all func() (map[string]*Record, error)) error {
	found, err := c.zfs.Projects(c.dataset)
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
		return !ours(p.ID) || hasFiles(p) || isRecorded(p.ID, recorded)
	})
	if len(found) == 0 {
		return nil
	}
	// The directories of a layer that was just made are not counted yet. They
	// get the ID before it gets a limit.
	if err := c.zfs.SyncPool(ctx, zfs.PoolOf(c.dataset)); err != nil {
		return err
	}
	for _, project := range found {
		if err := c.clear(project.ID); err != nil {
			return err
		}
	}
	return nil
}

func hasFiles(p zfs.ProjectUsage) bool { return p.Bytes > 0 || p.Objects > 0 }

// clear takes a limit away unless files have the ID.
func (c *projects) clear(id uint32) error {
	now, err := c.zfs.ProjectUsage(c.dataset, id)
	if err != nil || hasFiles(now) {
		return err
	}
	logrus.WithField("project", id).Info("a limit that no layer has is taken away")
	return c.zfs.SetProjectQuota(c.dataset, id, 0, 0)
}

func (c *projects) close() { c.governor.close() }
