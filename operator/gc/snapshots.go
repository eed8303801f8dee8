package gc

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// SnapshotEvidence is what the decision on a snapshotter's store is based on, besides the
// inventory.
type SnapshotEvidence struct {
	Root        string // containerd's
	Snapshotter string
	Backend     []containerdstore.Backend
	// Known has the names in containerd's records of any snapshotter. Namespaces is that of
	// containerdstore.Records.
	Known      map[string]bool
	Namespaces map[string]uint64
	Containers []dockerstore.Container // Docker's
}

// DecideSnapshots returns the plan for a snapshotter's store. It changes nothing.
//
// A snapshot is orphaned when containerd has no record of it under any snapshotter's name,
// and no recorded snapshot is above it. A layer without a snapshot is orphaned, too.
func DecideSnapshots(inv *inventory.Inventory, e SnapshotEvidence) Plan {
	p := Plan{Engine: "containerd", Dataset: inv.Dataset, Root: e.Root, Driver: e.Snapshotter, Layers: []inventory.Layer{}}
	orphans := e.findOrphans()
	gone := map[string]bool{}
	for _, record := range orphans {
		p.Snapshots = append(p.Snapshots, record.Name)
		gone[record.ID] = record.HasLayer()
	}
	for _, record := range e.Backend {
		if record.HasLayer() && !gone[record.ID] {
			gone[record.ID] = false
		}
	}
	keep := map[string]bool{}
	for _, l := range inv.Layers {
		if orphan, recorded := gone[l.ID]; orphan || !recorded && containerdstore.IsLayerID(l.ID) {
			p.Layers = append(p.Layers, l)
		} else {
			keep[l.ID] = true
		}
	}
	p.Remaining = len(keep)
	slices.SortFunc(p.Layers, func(a, b inventory.Layer) int {
		return cmp.Or(cmp.Compare(b.Depth, a.Depth), cmp.Compare(a.ID, b.ID))
	})
	p.Obstacles = slices.Concat(findObstacles(inv, p, keep), e.findObstacles(orphans))
	return p
}

// findOrphans returns the snapshots that containerd does not know, children first.
func (e SnapshotEvidence) findOrphans() (orphans []containerdstore.Backend) {
	byName := make(map[string]containerdstore.Backend, len(e.Backend))
	for _, record := range e.Backend {
		byName[record.Name] = record
	}
	keep, depth := map[string]bool{}, map[string]int{}
	for _, record := range e.Backend {
		above := record.Name
		for name := record.Name; name != "" && depth[record.Name] <= len(e.Backend); name = byName[name].Parent {
			depth[record.Name]++
			keep[name] = keep[name] || e.Known[above]
		}
	}
	for _, record := range e.Backend {
		if !keep[record.Name] {
			orphans = append(orphans, record)
		}
	}
	slices.SortFunc(orphans, func(a, b containerdstore.Backend) int {
		return cmp.Or(cmp.Compare(depth[b.Name], depth[a.Name]), cmp.Compare(a.Name, b.Name))
	})
	return orphans
}

// findObstacles returns the reasons to believe that another containerd made an orphan, or
// that containerd's records are older than the store.
func (e SnapshotEvidence) findObstacles(orphans []containerdstore.Backend) (why []string) {
	numbers := map[string]string{} // of each name space, by number: the key
	for name := range e.Known {
		if namespace, number, key, ok := containerdstore.SplitName(name); ok {
			numbers[fmt.Sprintf("%s/%d", namespace, number)] = key
		}
	}
	containers := map[string]string{}
	for _, c := range e.Containers {
		containers[c.ID], containers[c.ID+"-init"] = c.Name, c.Name
	}
	for _, record := range orphans {
		namespace, number, key, ok := containerdstore.SplitName(record.Name)
		last, exists := e.Namespaces[namespace]
		other, given := numbers[fmt.Sprintf("%s/%d", namespace, number)]
		container, used := containers[key]
		switch {
		case !ok:
			why = append(why, fmt.Sprintf("containerd did not name snapshot %.200q: another program uses the snapshotter", record.Name))
		case !exists, number > last, given && other != key:
			why = append(why, fmt.Sprintf("containerd in %s did not make snapshot %.200q: another containerd uses the store, or the records are older than the store; name the right root with --containerd-root", e.Root, record.Name))
		case used:
			why = append(why, fmt.Sprintf("containerd does not know the snapshot of Docker's container %s: its records are incomplete; restore them, or remove the container", container))
		}
	}
	return why
}
