package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/ctxlock"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// doorName marks a store as one of containerd's layers.
const doorName = "containerd"

// store is the part of the core that this door uses.
type store interface {
	Create(ctx context.Context, id, parent string, o overlayzfs.CreateOptions) error
	Remove(ctx context.Context, id string) error
	CheckHome(ctx context.Context) error
	Layers(ctx context.Context) ([]string, error)
	RemoveTorn(ctx context.Context, ids []string) (removed []string, err error)
	WritableMount(ctx context.Context, id string) (overlayzfs.Mount, error)
	ViewMount(ctx context.Context, id string) (overlayzfs.Mount, error)
	Chown(ctx context.Context, id string, uid, gid int) error
	LayerOwner(ctx context.Context, id string) (uid, gid int, err error)
	Rebase(ctx context.Context, id, parent string) error
	CommitLayer(ctx context.Context, id string, written bool, record func() error) error
	CommitRecords(ctx context.Context) error
	WaitTxg(ctx context.Context) error
	WaitReaper(ctx context.Context) error
	CheckLimits() error
	SetLimitsIf(ctx context.Context, id string, options map[string]string, check func() error) error
	Usage(ctx context.Context, id string) (overlayzfs.Usage, error)
	Close() error
}

// Snapshotter is containerd's snapshots.Snapshotter and snapshots.Cleaner. It is
// safe for concurrent use.
type Snapshotter struct {
	store   store
	meta    *storage.MetaStore
	file    string // of meta
	reserve reserve
	limits  Limits
	remap   bool
	log     *logrus.Logger

	// names holds one lock for each name: a call that changes a snapshot holds it.
	names ctxlock.Keys
	// recordAhead is locked shared while a record may exist without its layer, and
	// exclusively to compare records with layers.
	recordAhead ctxlock.RW

	closing sync.Once
	closed  error
}

var (
	_ snapshots.Snapshotter = (*Snapshotter)(nil)
	_ snapshots.Cleaner     = (*Snapshotter)(nil)
)

// Options are the administrator's choices.
type Options struct {
	// Home is the directory of the store.
	Home string
	// Store are the core's options. Open replaces their limits by Limits.
	Store overlayzfs.Options
	// Limits are the limits of containers' snapshots.
	Limits Limits
	// RemapIDs lets containerd map the owners of a container's files with ID-mapped mounts.
	RemapIDs bool
}

// Open opens the store in o.Home and reconciles records with layers.
func Open(ctx context.Context, o Options, log *logrus.Logger) (*Snapshotter, error) {
	if err := o.Limits.Check(); err != nil {
		return nil, err
	}
	o.Store.Door = doorName
	o.Store.Limits = o.Limits.Default
	core, err := overlayzfs.Open(ctx, o.Home, o.Store)
	if err != nil {
		return nil, err
	}
	if len(o.Limits.Namespaces) > 0 {
		if err := core.CheckLimits(); err != nil {
			return nil, errors.Join(fmt.Errorf("limits of name spaces: %w", err), core.Close())
		}
	}
	dir, err := core.MakeDoorDir(doorName)
	if err != nil {
		return nil, errors.Join(err, core.Close())
	}
	s, err := open(ctx, core, dir, o, log)
	if err != nil {
		return nil, errors.Join(err, core.Close())
	}
	return s, nil
}

// metadataName is the file of records.
const metadataName = "metadata.db"

func open(ctx context.Context, core store, dir string, o Options, log *logrus.Logger) (*Snapshotter, error) {
	file := filepath.Join(dir, metadataName)
	meta, err := openRecords(file)
	if err != nil {
		return nil, err
	}
	s := &Snapshotter{
		store: core, meta: meta, file: file, limits: o.Limits, remap: o.RemapIDs, log: log,
		recordAhead: ctxlock.NewRW(), reserve: reserve(filepath.Join(dir, reserveName)),
	}
	left, err := s.reconcile(ctx)
	if err != nil {
		return nil, errors.Join(err, meta.Close())
	}
	if left != nil {
		log.WithError(left).Warn("reconcile records and layers: the next cleanup tries again")
	}
	s.ensureReserve()
	return s, nil
}

// CheckHome returns an error when the store's pool does not answer, or when its dataset is
// not mounted on the home any more.
func (s *Snapshotter) CheckHome(ctx context.Context) error {
	return translate("look for the store", "", s.store.CheckHome(ctx))
}

// Close closes the store. Mounts stay, because containers use them. Closing twice does
// nothing.
func (s *Snapshotter) Close() error {
	s.closing.Do(func() {
		release, err := s.recordAhead.Lock(context.Background())
		if err != nil {
			s.closed = err
			return
		}
		defer release()
		s.closed = errors.Join(s.meta.Close(), s.store.Close())
	})
	return s.closed
}

// lockSnapshot locks a name for a call during which records and layers may differ. It returns
// the function that releases the locks.
func (s *Snapshotter) lockSnapshot(ctx context.Context, name string) (release func(), err error) {
	releaseName, err := s.names.Lock(ctx, name)
	if err != nil {
		return nil, err
	}
	releaseRecords, err := s.recordAhead.RLock(ctx)
	if err != nil {
		releaseName()
		return nil, err
	}
	return func() {
		releaseRecords()
		releaseName()
	}, nil
}
