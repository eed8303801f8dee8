package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// findChildren sorts the datasets of limited layers into those to roll back, those that are
// destroyed, and those that are missing. A spare has no layer: it goes back or is destroyed with
// them, and nobody misses it.
func (p *planner) findChildren() error {
	live, removed, err := quota.ListDatasets(p.zfs, p.Layers)
	if err != nil {
		return err
	}
	there, covered := map[string]bool{}, 0
	for _, child := range slices.Concat(live, removed) {
		key := keyOf(child.Name)
		there[key] = true
		isSpare := quota.IsSpare(child) && !p.limits.has(key)
		if isSpare {
			p.Spares = append(p.Spares, child.Name)
		}
		s, err := p.zfs.DatasetStats(snapshotName(child.Name, p.Name))
		switch {
		case isSpare && child.IsLocalOrReceived(quota.RemovedProperty): // nothing is in it that could come back
		case err == nil && isSameMoment(p.target, s):
			if p.limits.has(key) || !p.limits.isComplete() && !isSpare {
				covered++
			}
			p.add(child.Name, s)
		case err != nil && !errors.Is(err, zfs.ErrNotExist):
			return err
		case p.limits.has(key):
			p.Missing = append(p.Missing, child.Name)
		case child.CreateTXG > p.target.CreateTXG:
			p.MadeSince = append(p.MadeSince, child.Name)
		case child.IsLocalOrReceived(quota.RemovedProperty): // removed before the snapshot was taken
		case isSpare: // the driver's next start destroys it
		default:
			p.Missing = append(p.Missing, child.Name)
		}
	}
	for _, key := range p.limits.keys {
		if !there[key] {
			p.Missing = append(p.Missing, p.Layers+"/"+key)
		}
	}
	p.refuseMissing(p.limits.count - covered)
	return p.refuseBelow()
}

// refuseMissing refuses to lose limited layers unless the operator has accepted that. A
// snapshot names only the first keys, so the rest is known by number.
func (p *planner) refuseMissing(short int) {
	if short <= 0 && len(p.Missing) == 0 || p.options.AcceptMissing {
		return
	}
	p.refuse("%d of the %d limited containers in the snapshot have lost their dataset or its snapshot (%s): their files do not come back, and they will not start; go back without them with --accept-missing",
		max(short, len(p.Missing)), p.limits.count, summarize(p.Missing))
}

// refuseBelow refuses to destroy datasets that others made below a dataset of ours.
func (p *planner) refuseBelow() error {
	for _, later := range p.MadeSince {
		below, err := zfs.Collect(p.zfs.Children(later))
		if err != nil {
			return err
		}
		for _, child := range below {
			p.refuse("%s would be destroyed, and %s, which overlayzfs did not make, is below it: rename it", later, child.Name)
		}
	}
	return nil
}

// findNewer finds the snapshots and bookmarks that have to be destroyed, because the kernel
// goes back only to the latest.
func (p *planner) findNewer() error {
	for _, dataset := range slices.Concat(p.RollBack, p.MadeSince) {
		if err := p.findNewerOf(dataset, p.txgs[dataset]); err != nil {
			return err
		}
	}
	for _, dataset := range p.RollBack {
		bookmarks, err := p.zfs.Bookmarks(dataset)
		if err != nil {
			return err
		}
		for _, b := range bookmarks {
			if b.CreateTXG > p.txgs[dataset] {
				p.Bookmarks = append(p.Bookmarks, b.Name)
			}
		}
	}
	slices.Sort(p.Newer)
	slices.Sort(p.Foreign)
	slices.Sort(p.Bookmarks)
	p.refuseNewer()
	return nil
}

// refuseNewer refuses to destroy what is newer unless the operator has allowed that.
func (p *planner) refuseNewer() {
	if p.options.DestroyNewer {
		return
	}
	if n := len(p.Newer) + len(p.Foreign); n > 0 {
		p.refuse("%d newer snapshots would be lost, %d of them taken by others (%s): allow it with --destroy-newer", n, len(p.Foreign), summarize(append(p.Foreign[:len(p.Foreign):len(p.Foreign)], p.Newer...)))
	}
	if len(p.Bookmarks) > 0 {
		p.refuse("%d newer bookmarks would be lost, from which replication goes on (%s): allow it with --destroy-newer, and send everything anew or from an older snapshot afterwards", len(p.Bookmarks), summarize(p.Bookmarks))
	}
}

// refuseLocked refuses to roll back encrypted datasets whose key is not loaded: nothing could
// be mounted again.
func (p *planner) refuseLocked() error {
	for _, dataset := range p.RollBack {
		stats, err := p.zfs.DatasetStats(dataset)
		if err != nil {
			return err
		}
		if stats.IsLocked() {
			root, _ := stats.Property("encryptionroot")
			p.refuse("dataset %s is encrypted and its key is not loaded: run `zfs load-key %s`", dataset, root.String())
		}
	}
	return nil
}

func (p *planner) findNewerOf(dataset string, txg uint64) error {
	for s, err := range p.zfs.SnapshotNames(dataset) {
		if err != nil {
			return err
		}
		if s.CreateTXG <= txg {
			continue
		}
		if err := p.addNewer(s.Name); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) addNewer(name string) error {
	s, err := p.zfs.DatasetStats(name)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if isOurs(s) {
		p.Newer = append(p.Newer, name)
	} else {
		p.Foreign = append(p.Foreign, name)
	}
	if s.Clones > 0 {
		p.refuse("the newer snapshot %s has %d clones: destroy or promote them", name, s.Clones)
	}
	holds, err := holdsOf(p.zfs, []string{name})
	for _, hold := range holds {
		p.refuse("the newer snapshot %s is held: release it with `zfs release %s %s`", name, hold.Tag, name)
	}
	return err
}

// summarize names at most five of many.
func summarize(names []string) string {
	const most = 5
	switch {
	case len(names) == 0:
		return "not known by name"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(", and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
