// Package writable brings one container's writable layer back from a snapshot: into a
// directory, or in the place of the layer that the container has now.
package writable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Layer is a container's writable layer in a snapshot.
type Layer struct {
	Container string // its name
	ID        string // the layer's
	Dataset   string // of a limited container; else ""
	Running   bool   // now

	source   *inventory.Source
	snapshot string // the part after the @
}

// Find finds the layer of a container that Docker knows, in a snapshot of the store.
func Find(s *inventory.Source, snapshot, name string) (l Layer, err error) {
	if s.Where.Dataset == "" {
		return l, fault.New(fault.Unsupported, "the store lies in Docker's data-root, where one container cannot go back alone: roll back everything, or copy its files out of .zfs/snapshot")
	}
	inv, err := s.Inventory()
	if err != nil {
		return l, err
	}
	match, err := inv.Find(name)
	if err != nil {
		return l, err
	}
	if match.Kind != "container" || len(match.Layers) == 0 {
		return l, fault.New(fault.Invalid, "%s names no container, but a different thing (%s): `docker ps -a` lists containers", name, match.Kind)
	}
	l = Layer{Container: match.Name, ID: match.Layers[len(match.Layers)-1].ID, Running: match.Running, source: s, snapshot: snapshot}
	view, err := overlayzfs.OpenSnapshot(s.Dataset + "@" + snapshot)
	if err != nil {
		return l, err
	}
	defer func() { _ = view.Close() }() // only read
	layers, err := view.Layers()
	for _, seen := range layers {
		if seen.ID != l.ID {
			continue
		}
		if seen.Limit != nil && seen.Limit.Mode == quota.Dataset {
			l.Dataset = s.Dataset + "/" + seen.Key
		}
		return l, err
	}
	return l, errors.Join(err, fault.New(fault.NotFound, "snapshot %s does not have container %s: it was made later", snapshot, match.Name))
}

// open opens the layer's content in the snapshot.
func (l Layer) open() (content, root *os.File, err error) {
	snap, path := l.source.Dataset+"@"+l.snapshot, filepath.Join(l.ID, "diff")
	if l.Dataset != "" {
		snap, path = l.Dataset+"@"+l.snapshot, "diff"
	}
	root, err = zfs.OpenSnapshot(snap)
	if err != nil {
		return nil, nil, err
	}
	if content, err = os.Open(below(root, path)); err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	return content, root, nil
}

// below returns a path below an open directory.
func below(root *os.File, path string) string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", root.Fd()), path)
}

// CopyTo copies what the container had written into a new or empty directory. Deletions are
// whiteouts there, as overlayfs has them.
func (l Layer) CopyTo(ctx context.Context, dir string, copied func(int64)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return errors.Join(err, fault.New(fault.Exists, "%s is not empty: name another directory", dir))
	}
	return l.copyInto(ctx, dir, copied)
}

func (l Layer) copyInto(ctx context.Context, dir string, copied func(int64)) error {
	content, root, err := l.open()
	if err != nil {
		return err
	}
	defer root.Close()
	defer content.Close()
	to, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	return treecopy.Upper(ctx, to, content, treecopy.Options{Copied: copied})
}

// Replace puts the layer's content of the snapshot in the place of the present one. Nobody may
// have the store open, and Docker has to be kept from starting. It is cut anywhere without harm:
// the content is exchanged in one step, after the copy is on disk.
func (l Layer) Replace(ctx context.Context, copied func(int64)) error {
	dataset, dir, staging := l.source.Dataset, l.ID, filepath.Join(".overlayzfs/new", "back-"+l.ID)
	if l.Dataset != "" {
		dataset, dir, staging = l.Dataset, ".", "diff.back"
	}
	root, err := zfs.OpenDataset(dataset)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := os.Lstat(below(root, filepath.Join(dir, "diff"))); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "container %s has no writable layer now", l.Container)
	}
	staged := below(root, staging)
	if err := os.RemoveAll(staged); err != nil { // of a run that was cut
		return err
	}
	if err := os.Mkdir(staged, 0o755); err != nil {
		return err
	}
	err = l.copyInto(ctx, staged, copied)
	if err == nil {
		err = l.source.ZFS.SyncPool(ctx, zfs.PoolOf(dataset))
	}
	if err == nil {
		err = fsat.Rename(int(root.Fd()), staging, int(root.Fd()), filepath.Join(dir, "diff"), unix.RENAME_EXCHANGE)
	}
	return errors.Join(err, os.RemoveAll(staged))
}

// RequireStopped refuses while the container runs or anybody has the store open.
func (l Layer) RequireStopped() error {
	if err := l.source.View.RequireUnused(); err != nil {
		return err
	}
	if l.Running {
		return fault.NewWithRemedy(fault.Busy, "Docker recorded that container %s runs; stop it", l.Container)
	}
	return nil
}
