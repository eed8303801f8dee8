package snapshotter

import (
	"context"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// owner is who owns a layer's root directory.
type owner struct{ uid, gid int }

// largestID is above all that are valid: the kernel takes 2^32-1 for "none".
const largestID = 1<<32 - 1

// ownerFrom is the container's root, as the labels with its ID maps have it, or
// nil without them.
func ownerFrom(labels map[string]string) (*owner, error) {
	uids, haveUIDs := labels[snapshots.LabelSnapshotUIDMapping]
	gids, haveGIDs := labels[snapshots.LabelSnapshotGIDMapping]
	if !haveUIDs && !haveGIDs {
		return nil, nil
	}
	uid, err := rootOf(snapshots.LabelSnapshotUIDMapping, uids)
	if err != nil {
		return nil, err
	}
	gid, err := rootOf(snapshots.LabelSnapshotGIDMapping, gids)
	if err != nil {
		return nil, err
	}
	return &owner{uid, gid}, nil
}

// rootOf is the host's ID of the container's 0 in a map written as
// CONTAINER:HOST:SIZE,…
func rootOf(label, text string) (int, error) {
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
	if n[2] == 0 || n[0]+n[2] > largestID || n[1]+n[2] > largestID {
		return 0, 0, false
	}
	return int(n[0]), int(n[1]), true
}

// maps are options that tell containerd to map owners when it mounts. The labels
// were checked when the snapshot was made; what was changed since is left out.
func (s *Snapshotter) maps(ctx context.Context, r record) ([]string, error) {
	root := s.mapped(r)
	if root == nil {
		return nil, nil
	}
	if chowned, err := s.chowned(ctx, r, *root); err != nil || chowned {
		return nil, err
	}
	return mapOptions(r.info.Labels), nil
}

// mapped is the container's root where owners are mapped by mounts, or nil.
func (s *Snapshotter) mapped(r record) *owner {
	if !s.remap {
		return nil
	}
	if root, err := ownerFrom(r.info.Labels); err == nil {
		return root
	}
	return nil
}

// chowned reports whether the files below have the container's owners on disk.
// containerd makes a copy that has, where its configuration does not list the
// capability remap-ids, and sets the same labels. Mapped once more they would be
// nobody's.
func (s *Snapshotter) chowned(ctx context.Context, r record, root owner) (bool, error) {
	if r.below == "" || root == (owner{}) {
		return false, nil
	}
	uid, gid, err := s.store.LayerOwner(ctx, r.below)
	return owner{uid, gid} == root, err
}

func mapOptions(labels map[string]string) []string {
	return []string{"uidmap=" + labels[snapshots.LabelSnapshotUIDMapping], "gidmap=" + labels[snapshots.LabelSnapshotGIDMapping]}
}
