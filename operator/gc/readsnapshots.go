package gc

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// examineSnapshots is Examine for a snapshotter's store.
func examineSnapshots(s *inventory.Source) (Plan, error) {
	inv, err := s.Inventory()
	if err != nil {
		return Plan{}, err
	}
	e := SnapshotEvidence{
		Snapshotter: s.Where.Driver, Backend: s.Containerd.Backend, Namespaces: s.Containerd.Records.Namespaces,
		Containers: s.Containerd.Containers, Known: map[string]bool{},
	}
	if s.Root != nil { // without a containerd there are no snapshots either
		e.Root = s.Root.Dir()
		if e.Known, err = s.Root.BackendNames(); err != nil {
			return Plan{}, err
		}
	}
	plan := DecideSnapshots(inv, e)
	mounts, err := mount.ListBelow("/")
	plan.Obstacles = append(plan.Obstacles, findMountedSnapshots(plan.Layers, mounts)...)
	return plan, err
}

// findMountedSnapshots reports the layers that a mount uses. Containers outlive
// containerd and the snapshotter.
func findMountedSnapshots(layers []inventory.Layer, mounts []*mount.Info) (why []string) {
	for _, l := range layers {
		for _, m := range mounts {
			if usesLayer(m, filepath.Join(l.ID, "diff")) || l.Key != "" && usesLayer(m, filepath.Join(l.Key, "diff")) {
				why = append(why, fmt.Sprintf("layer %s is mounted on %s: stop what uses it, and unmount it", l.ID, m.Mountpoint))
			}
		}
	}
	return why
}

// usesLayer reports whether a mount is an overlay with the layer's directory, or shows it.
func usesLayer(m *mount.Info, dir string) bool {
	if m.FSType == "zfs" {
		return m.Root == "/"+dir
	}
	return m.FSType == "overlay" && slices.ContainsFunc(strings.FieldsFunc(m.VFSOptions, func(r rune) bool { return r == ',' || r == ':' || r == '=' }),
		func(path string) bool { return path == dir || strings.HasSuffix(path, "/"+dir) })
}
