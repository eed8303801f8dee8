package inventory

import (
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Measure asks ZFS what the store's dataset takes, with the datasets of limited
// containers and what snapshots hold.
func (t *Totals) Measure(z *zfs.Handle, dataset, pool string) error {
	p, err := z.PoolStats(pool)
	if err != nil {
		return err
	}
	t.Dataset, t.Pool = dataset, Pool{Name: p.Name, Health: p.Health, Size: p.Size, Allocated: p.Allocated, Free: p.Free}
	d, err := z.DatasetStats(dataset)
	if err != nil {
		return err
	}
	t.Space = Space{
		Used: d.Used(), Logical: d.LogicalUsed(), Layers: d.Referenced(), Limited: d.UsedByChildren(),
		Snapshots: d.UsedBySnapshots(), Available: d.Available(),
	}
	// What snapshots of limited containers hold is their datasets', but held all
	// the same.
	for child, err := range z.Children(dataset) {
		if err != nil {
			return err
		}
		t.Space.Snapshots += child.UsedBySnapshots()
		t.Space.Limited -= min(t.Space.Limited, child.UsedBySnapshots())
	}
	return nil
}
