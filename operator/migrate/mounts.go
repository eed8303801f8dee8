package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/retry"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// datasetMounts holds read-only mounts of datasets that are attached to no mount
// namespace. Readers of one dataset share a mount. A dataset is never mounted while an
// earlier mount of it ends, because the zfs module refuses that.
type datasetMounts struct {
	mount func(dataset string) (*os.File, error) // nil: zfs.OpenDatasetReadOnly

	mu  sync.Mutex
	all map[string]*sharedMount
}

// sharedMount is a mount that exists while it has readers.
type sharedMount struct {
	mu      sync.Mutex
	root    *os.File
	readers int
}

// openDir mounts a dataset and opens a directory of it.
func (v *datasetMounts) openDir(dataset, dir string) (*tree, error) {
	shared := v.get(dataset)
	if err := shared.acquire(func() (*os.File, error) { return v.mountWhenIdle(dataset) }); err != nil {
		return nil, err
	}
	// fsmount(2) returns an O_PATH descriptor, which cannot be read.
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d/%s", shared.root.Fd(), dir))
	if err != nil {
		return nil, errors.Join(err, shared.release())
	}
	return &tree{f, shared.release}, nil
}

func (v *datasetMounts) get(dataset string) *sharedMount {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil {
		v.all = map[string]*sharedMount{}
	}
	if v.all[dataset] == nil {
		v.all[dataset] = &sharedMount{}
	}
	return v.all[dataset]
}

func (s *sharedMount) acquire(mount func() (*os.File, error)) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == 0 {
		if s.root, err = mount(); err != nil {
			return err
		}
	}
	s.readers++
	return nil
}

// busyPauses are the pauses between two tries to mount a busy dataset.
var busyPauses = retry.Pauses{First: 10 * time.Millisecond, Most: busyTimeout}

// mountWhenIdle mounts a dataset with openWhenIdle.
func (v *datasetMounts) mountWhenIdle(dataset string) (*os.File, error) {
	mount := v.mount
	if mount == nil {
		mount = zfs.OpenDatasetReadOnly
	}
	return openWhenIdle(func() (*os.File, error) { return mount(dataset) })
}

// openWhenIdle mounts a dataset by open. It waits up to busyTimeout for an ending mount, such as
// a killed process leaves for a moment.
func openWhenIdle[T any](open func() (T, error)) (opened T, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	isBusy := func(err error) bool { return errors.Is(err, fault.Busy) }
	err = busyPauses.While(ctx, isBusy, func() (err error) {
		opened, err = open()
		return err
	})
	return opened, err
}

func (s *sharedMount) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers--; s.readers > 0 {
		return nil
	}
	return s.root.Close()
}
