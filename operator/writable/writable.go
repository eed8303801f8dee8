// Package writable brings one container's writable layer back from a snapshot: into a
// directory, or in the place of the layer that the container, or another one, has now.
package writable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
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

	source   *inventory.Source
	snapshot string // the part after the @
	chains   []digest.Digest
	place    place
}

// place is the writable layer that Replace replaces.
type place struct {
	container, id, dataset string // as in Layer
	running                bool
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
	match, err := findContainer(inv, name)
	if err != nil {
		return l, err
	}
	l = Layer{Container: match.Name, ID: match.Layers[len(match.Layers)-1].ID, source: s, snapshot: snapshot, chains: match.Chains}
	if err := l.setPlace(match); err != nil {
		return l, err
	}
	view, err := overlayzfs.OpenSnapshot(s.Dataset + "@" + snapshot)
	if err != nil {
		return l, err
	}
	defer func() { _ = view.Close() }() // only read
	dataset, found, err := l.findDataset(view, l.ID)
	l.Dataset = dataset
	if err == nil && !found {
		err = fault.New(fault.NotFound, "snapshot %s does not have container %s: it was made later", snapshot, match.Name)
	}
	return l, err
}

func findContainer(inv *inventory.Inventory, name string) (*inventory.Match, error) {
	match, err := inv.Find(name)
	if err != nil {
		return nil, err
	}
	if match.Kind != "container" || len(match.Layers) == 0 {
		return nil, fault.New(fault.Invalid, "%s names no container, but a different thing (%s): `docker ps -a` lists containers", name, match.Kind)
	}
	return match, nil
}

// findDataset finds a layer, and the dataset of a limited one.
func (l *Layer) findDataset(view *overlayzfs.StoreView, id string) (dataset string, found bool, err error) {
	layers, err := view.Layers()
	for _, seen := range layers {
		if seen.ID != id {
			continue
		}
		if seen.Limit != nil && seen.Limit.Mode == quota.Dataset {
			dataset = l.source.Dataset + "/" + seen.Key
		}
		return dataset, true, err
	}
	return "", false, err
}

// Into makes Replace put the content into another container. Its image has to have the same
// layers: the content is changes to these.
func (l *Layer) Into(name string) error {
	inv, err := l.source.Inventory()
	if err != nil {
		return err
	}
	match, err := findContainer(inv, name)
	if err != nil {
		return err
	}
	if !slices.Equal(match.Chains, l.chains) {
		return fault.New(fault.Invalid, "container %s has another image than %s: make one with the image of %s", match.Name, l.Container, l.Container)
	}
	return l.setPlace(match)
}

func (l *Layer) setPlace(match *inventory.Match) (err error) {
	l.place = place{container: match.Name, id: match.Layers[len(match.Layers)-1].ID, running: match.Running}
	l.place.dataset, _, err = l.findDataset(l.source.View, l.place.id)
	return err
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

// Replace puts the layer's content of the snapshot in the place of the present one, or of that
// of the container of Into. Nobody may
// have the store open, and Docker has to be kept from starting. It is cut anywhere without harm:
// the content is exchanged in one step, after the copy is on disk.
func (l Layer) Replace(ctx context.Context, copied func(int64)) error {
	dataset, dir, staging := l.source.Dataset, l.place.id, filepath.Join(".overlayzfs/new", "back-"+l.place.id)
	if l.place.dataset != "" {
		dataset, dir, staging = l.place.dataset, ".", "diff.back"
	}
	root, err := zfs.OpenDataset(dataset)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := os.Lstat(below(root, filepath.Join(dir, "diff"))); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "container %s has no writable layer now", l.place.container)
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
	if l.place.running {
		return fault.NewWithRemedy(fault.Busy, "Docker recorded that container %s runs; stop it", l.place.container)
	}
	return nil
}
