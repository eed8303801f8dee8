package snapshot

import (
	"errors"
	"slices"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// findUsers refuses while anybody uses what is to go back. A kernel rolls back
// a mounted file system in place, but overlays on it are broken from then on,
// and so is the mind of a daemon that has read its files before.
//
// Nothing may be mounted, in no mount name space: for layers that is how a driver
// that has the store open shows. Of the records dataset, which usually is, the
// kernel keeps pages in memory as they were before (openzfs #10931): dockerd
// died of its own databases after such a rollback. Overlays and processes on it
// are named first, since they keep it from being unmounted.
func (p *planner) findUsers() error {
	procs, err := processes()
	if err != nil {
		return err
	}
	table := mountTable(procs)
	for _, dataset := range append(slices.Clone(p.Back), p.Later...) {
		if dataset == p.Records {
			err = p.refuseInside(dataset, table, procs)
		} else {
			err = p.refuseMounted(dataset, table)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) refuseMounted(dataset string, table mounts) error {
	if on := table.of(dataset); len(on) > 0 {
		p.refuse("dataset %s is mounted on %s (process %d, %s, sees it): stop dockerd, and the plugin with it, and unmount it", dataset, on[0].info.Mountpoint, on[0].pid, command(on[0].pid))
		return nil
	}
	_, err := zfs.ObjsetKstat(zfs.PoolOf(dataset), dataset)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	if err == nil {
		p.refuse("dataset %s is in use, though no visible mount shows it: a process still has a file open in a mount that was detached, or it is mounted in a name space that no process is in", dataset)
	}
	return err
}

func (p *planner) refuseInside(dataset string, table mounts, procs []int) error {
	on := table.of(dataset)
	if len(on) == 0 {
		return p.refuseMounted(dataset, table)
	}
	if o, ok := table.overlayOn(dataset); ok {
		p.refuse("an overlay on dataset %s is mounted on %s (process %d, %s, sees it): stop all containers and dockerd", dataset, o.info.Mountpoint, o.pid, command(o.pid))
	}
	ids := map[int]bool{}
	for _, m := range on {
		ids[m.info.ID] = true
	}
	for _, pid := range procs {
		if what := insideBy(pid, ids); what != "" {
			p.refuse("process %d (%s) uses the records dataset %s (%s): stop dockerd, or whatever it is", pid, command(pid), dataset, what)
		}
	}
	where := on[0].info.Mountpoint
	p.refuse("the records dataset %s is mounted on %s: `umount %s` before, and mount it again after, or the kernel goes on to show pages of its files as they were", dataset, where, where)
	return nil
}
