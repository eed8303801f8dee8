package snapshot

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// beyond returns the snapshots that a policy keeps no longer, oldest first: of
// each event it names, all but the newest. What is held or cloned stays, and
// takes no other's place.
func beyond(infos []Info, p Policy) []Info {
	var old []Info
	for _, e := range events {
		keep, named := p[e]
		of := ofEvent(infos, e)
		if !named || len(of) <= keep {
			continue
		}
		for _, info := range of[:len(of)-keep] {
			if !info.held && info.Clones == 0 {
				old = append(old, info)
			}
		}
	}
	oldestFirst(old)
	return old
}

// prune destroys what the policy keeps no longer, each snapshot on all its
// datasets in one step, and returns what is left.
func (s store) prune(ctx context.Context, p Policy) (left []Info, pruned bool, err error) {
	infos, err := inventory(s.zfs, s.layers, s.records)
	if err != nil {
		return nil, false, err
	}
	gone := map[string]bool{}
	var errs []error
	for _, info := range beyond(infos, p) {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		err := s.zfs.DestroySnapshots(onEach(info.Datasets, info.Name), false)
		switch {
		case err == nil:
			gone[info.Name] = true
		case errors.Is(err, zfs.ErrBusy):
			logrus.WithError(err).WithField("snapshot", info.Name).Debug("in use: stays")
		default:
			errs = append(errs, err)
		}
	}
	return without(infos, gone), len(gone) > 0, errors.Join(errs...)
}

func without(infos []Info, gone map[string]bool) []Info {
	var left []Info
	for _, info := range infos {
		if !gone[info.Name] {
			left = append(left, info)
		}
	}
	return left
}
