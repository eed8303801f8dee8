package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// HomesDir holds the directories that a store's dataset is mounted on while a command
// has it open; their names begin with HomesPrefix.
const (
	HomesDir    = "/run"
	HomesPrefix = "overlayzfs-store-"
)

// OpenStore opens the store at where with o, whose Dataset it sets. It puts in order
// what an earlier process left. It fails with fault.Busy while somebody has the store
// open. The caller holds the lock of changing commands and calls closeStore.
func OpenStore(ctx context.Context, where Location, o overlayzfs.Options) (store *overlayzfs.Driver, closeStore func() error, err error) {
	home, release, err := PrepareHome(where)
	if err != nil {
		return nil, nil, err
	}
	o.Dataset = where.Dataset
	if store, err = overlayzfs.Open(ctx, home, o); err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return store, func() error { return errors.Join(store.Close(), release()) }, nil
}

// PrepareHome returns the directory that a store is opened in: its own, or one that
// its dataset is mounted on until release is called. The caller holds the lock of changing
// commands.
func PrepareHome(where Location) (home string, release func() error, err error) {
	if where.Dataset == "" {
		return where.Home, func() error { return nil }, nil
	}
	if err := clearHomes(); err != nil {
		return "", nil, err
	}
	home, err = os.MkdirTemp(HomesDir, HomesPrefix)
	return home, func() error { return os.Remove(home) }, err
}

// clearHomes unmounts and removes what killed commands left. The lock of changing
// commands makes sure that no other command uses it.
func clearHomes() error {
	left, err := filepath.Glob(filepath.Join(HomesDir, HomesPrefix+"*"))
	if err != nil || len(left) == 0 {
		return err
	}
	mounts, err := mount.ListBelow(HomesDir)
	for _, m := range slices.Backward(mounts) { // those made last first
		if strings.HasPrefix(m.Mountpoint, filepath.Join(HomesDir, HomesPrefix)) {
			err = errors.Join(err, mount.Detach(m.Mountpoint))
		}
	}
	for _, dir := range left {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}
