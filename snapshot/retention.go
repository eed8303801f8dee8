package snapshot

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// listExcess returns the snapshots that a policy does not keep, oldest first: for each event of
// the policy, all but the newest. A snapshot with a hold or a clone stays, and takes no other
// snapshot's place.
func listExcess(infos []Info, p Policy) []Info {
	var old []Info
	for _, e := range policyEvents {
		keep, named := p[e]
		of := filterEvent(infos, e)
		if !named || len(of) <= keep {
			continue
		}
		for _, info := range of[:len(of)-keep] {
			if !info.held && info.Clones == 0 {
				old = append(old, info)
			}
		}
	}
	sortByTXG(old)
	return old
}

// prune destroys the snapshots that the policy does not keep, and returns the rest. It destroys
// each snapshot on all its datasets in one step.
func (s target) prune(ctx context.Context, p Policy) (left []Info, pruned bool, err error) {
	infos, err := listSnapshots(s.zfs, s.layers, s.records)
	if err != nil {
		return nil, false, err
	}
	gone := map[string]bool{}
	var errs []error
	for _, info := range listExcess(infos, p) {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		err := s.zfs.DestroySnapshots(snapshotNames(info.Datasets, info.Name), false)
		switch {
		case err == nil:
			gone[info.Name] = true
		case errors.Is(err, zfs.ErrBusy):
			logrus.WithError(err).WithField("snapshot", info.Name).Debug("the snapshot is in use and stays")
		default:
			errs = append(errs, err)
		}
	}
	return dropNames(infos, gone), len(gone) > 0, errors.Join(errs...)
}

func dropNames(infos []Info, gone map[string]bool) []Info {
	var left []Info
	for _, info := range infos {
		if !gone[info.Name] {
			left = append(left, info)
		}
	}
	return left
}
