package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/host"
)

// homes is where datasets are mounted meanwhile, and what the directories are
// called.
const (
	homes     = "/run"
	homesName = "overlayzfs-store-"
)

// homeFor is the directory that a store is opened in: its own, or one that its
// dataset is mounted on meanwhile. Whoever calls it has the lock of changing
// commands, so what another one has left there is nobody's.
func homeFor(where host.Location) (home string, release func() error, err error) {
	if where.Dataset == "" {
		return where.Home, func() error { return nil }, nil
	}
	if err := clearHomes(); err != nil {
		return "", nil, err
	}
	home, err = os.MkdirTemp(homes, homesName)
	return home, func() error { return os.Remove(home) }, err
}

// clearHomes takes away what a command that was killed had mounted.
func clearHomes() error {
	left, err := filepath.Glob(filepath.Join(homes, homesName+"*"))
	if err != nil || len(left) == 0 {
		return err
	}
	mounts, err := mount.Below(homes)
	for _, m := range slices.Backward(mounts) { // those made last first
		if strings.HasPrefix(m.Mountpoint, filepath.Join(homes, homesName)) {
			err = errors.Join(err, mount.Detach(m.Mountpoint))
		}
	}
	for _, dir := range left {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}
