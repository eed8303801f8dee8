package snapshotter

import (
	"context"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// owner is the owner of a layer's root directory.
type owner struct{ uid, gid int }

// invalidID is the first invalid ID: the kernel takes 2^32-1 for "none".
const invalidID = 1<<32 - 1

// ownerFrom returns the host's IDs of the container's root, from the labels with its ID
// maps, or nil without these labels.
func ownerFrom(labels map[string]string) (*owner, error) {
	uids, haveUIDs := labels[snapshots.LabelSnapshotUIDMapping]
	gids, haveGIDs := labels[snapshots.LabelSnapshotGIDMapping]
	if !haveUIDs && !haveGIDs {
		return nil, nil
	}
	uid, err := hostRootOf(snapshots.LabelSnapshotUIDMapping, uids)
	if err != nil {
		return nil, err
	}
	gid, err := hostRootOf(snapshots.LabelSnapshotGIDMapping, gids)
	if err != nil {
		return nil, err
	}
	return &owner{uid, gid}, nil
}

// hostRootOf returns the host's ID of the container's 0. text is an ID map, written
// CONTAINER:HOST:SIZE,…
func hostRootOf(label, text string) (int, error) {
	root := -1
	for entry := range strings.SplitSeq(text, ",") {
		container, host, ok := parseMapping(entry)
		if !ok {
			return 0, fault.New(fault.Invalid, "label %s=%.80q: want CONTAINER:HOST:SIZE, separated by commas", label, text)
		}
		if container == 0 && root < 0 {
			root = host
		}
	}
	if root < 0 {
		return 0, fault.New(fault.Invalid, "label %s=%.80q does not map root", label, text)
	}
	return root, nil
}

func parseMapping(entry string) (container, host int, ok bool) {
	fields := strings.Split(entry, ":")
	if len(fields) != 3 {
		return 0, 0, false
	}
	var n [3]uint64
	for i, field := range fields {
		v, err := strconv.ParseUint(field, 10, 32)
		if err != nil || strconv.FormatUint(v, 10) != field {
			return 0, 0, false
		}
		n[i] = v
	}
	if n[2] == 0 || n[0]+n[2] > invalidID || n[1]+n[2] > invalidID {
		return 0, 0, false
	}
	return int(n[0]), int(n[1]), true
}

// idMapOptions returns the mount options that tell containerd to map owners. Create checked
// the labels; a label that became invalid since is ignored.
func (s *Snapshotter) idMapOptions(ctx context.Context, r record) ([]string, error) {
	root := s.mappedRoot(r)
	if root == nil {
		return nil, nil
	}
	if chowned, err := s.isChowned(ctx, r, *root); err != nil || chowned {
		return nil, err
	}
	return mapOptions(r.info.Labels), nil
}

// mappedRoot returns the container's root if mounts map owners, or nil.
func (s *Snapshotter) mappedRoot(r record) *owner {
	if !s.remap {
		return nil
	}
	if root, err := ownerFrom(r.info.Labels); err == nil {
		return root
	}
	return nil
}

// isChowned reports whether the parent's files have the container's owners on disk. When
// its configuration does not list the capability remap-ids, containerd makes such a copy
// and sets the same labels. Mapping these owners again would make them nobody's.
func (s *Snapshotter) isChowned(ctx context.Context, r record, root owner) (bool, error) {
	if r.parentID == "" || root == (owner{}) {
		return false, nil
	}
	uid, gid, err := s.store.LayerOwner(ctx, r.parentID)
	return owner{uid, gid} == root, err
}

func mapOptions(labels map[string]string) []string {
	return []string{"uidmap=" + labels[snapshots.LabelSnapshotUIDMapping], "gidmap=" + labels[snapshots.LabelSnapshotGIDMapping]}
}
