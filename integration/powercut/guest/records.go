package guest

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
)

// records are the layers' directories by the IDs of the list, and what else the
// snapshotter lists: views, and records that lead to no layer.
func (d *snapshotDoor) records(ctx context.Context) (dirs map[string]string, others []string, err error) {
	var infos []snapshots.Info
	if err := d.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		infos = append(infos, info)
		return nil
	}); err != nil {
		return nil, nil, err
	}
	dirs = make(map[string]string)
	for _, info := range infos {
		id := idOfKey(info.Name)
		if info.Kind == snapshots.KindView {
			others = append(others, "view "+id)
			continue
		}
		dir, err := d.dirOf(ctx, id)
		if err != nil {
			others = append(others, fmt.Sprintf("record %s: %v", id, err))
			continue
		}
		dirs[dir] = id
	}
	return dirs, others, nil
}

// dirOf is the name of the directory that a layer has in the store.
func (d *snapshotDoor) dirOf(ctx context.Context, id string) (string, error) {
	path, err := d.content(ctx, id)
	if err != nil {
		return "", err
	}
	below, ok := strings.CutPrefix(path, d.home+"/")
	name, _, _ := strings.Cut(below, "/")
	if !ok {
		return "", fmt.Errorf("its mount leads to %s", path)
	}
	_, err = os.Stat(path)
	return name, err
}

// matchRecords returns names by the snapshotter's records, for look. The directories of such
// a store bear numbers; a directory without a record is a stray.
func (s *store) matchRecords(ctx context.Context, layers []string) (owners, []string, error) {
	dirs, names, err := s.snapshots.records(ctx)
	if err != nil {
		return nil, nil, err
	}
	of := s.owners(layers)
	for short, dir := range of {
		if id, ok := dirs[dir]; ok {
			of[short] = id
		}
	}
	for _, dir := range layers {
		if id, ok := dirs[dir]; ok {
			names = append(names, "layer "+id)
			continue
		}
		names = append(names, "stray "+dir)
	}
	return of, names, nil
}
