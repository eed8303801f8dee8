package snapshotter

import (
	"context"
	"errors"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// parentLabel names the parent of a layer that is unpacked before its parent exists.
// containerd's unpacker sets it.
const parentLabel = "containerd.io/snapshot/parent-chain-id"

// Mounts returns how an active snapshot or a view is mounted.
func (s *Snapshotter) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	release, err := s.names.Lock(ctx, key)
	if err != nil {
		return nil, translate("mounts of snapshot", key, err)
	}
	defer release()
	r, err := s.find(ctx, key)
	if err == nil && r.info.Kind == snapshots.KindCommitted {
		err = errors.Join(errdefs.ErrFailedPrecondition, errors.New("it is committed; prepare or view a snapshot of it"))
	}
	if err != nil {
		return nil, translate("mounts of snapshot", key, err)
	}
	mounts, err := s.mounts(ctx, r)
	return mounts, translate("mounts of snapshot", key, err)
}

func (s *Snapshotter) mounts(ctx context.Context, r record) ([]mount.Mount, error) {
	var m overlayzfs.Mount
	var err error
	switch {
	case r.info.Kind == snapshots.KindActive:
		m, err = s.store.WritableMount(ctx, r.id)
	case r.info.Parent == "":
		m, err = s.store.ViewMount(ctx, r.id)
	default:
		m, err = s.store.ViewMount(ctx, r.parentID)
	}
	if err != nil {
		return nil, err
	}
	// After a failed Commit the layer can have its parent already: then it is no bind.
	if r.info.Kind == snapshots.KindActive && isParallelUnpack(r.info) && m.Type == "bind" {
		return []mount.Mount{upperOnlyMount(m)}, nil
	}
	out := convertMount(m)
	maps, err := s.idMapOptions(ctx, r)
	out.Options = append(maps, out.Options...)
	return []mount.Mount{out}, err
}

// isParallelUnpack reports whether a layer is unpacked while its parent does not exist.
func isParallelUnpack(info snapshots.Info) bool {
	return info.Parent == "" && isUnpackKey(info.Name) && info.Labels[parentLabel] != ""
}

// upperOnlyMount returns an overlay mount without lower directories. From it an unpacker
// sees that deletions become overlayfs whiteouts, although nothing is below yet. Nobody
// mounts it: the kernel refuses an overlay without a lower directory.
func upperOnlyMount(m overlayzfs.Mount) mount.Mount {
	return mount.Mount{Type: "overlay", Source: "overlay", Options: []string{"upperdir=" + m.Source}}
}

// convertMount converts a mount to containerd's type, where flags are options.
func convertMount(m overlayzfs.Mount) mount.Mount {
	out := mount.Mount{Type: m.Type, Source: m.Source}
	if m.Flags&unix.MS_BIND != 0 {
		access := "rw"
		if m.Flags&unix.MS_RDONLY != 0 {
			access = "ro"
		}
		out.Options = append(out.Options, access, "rbind")
	}
	for _, o := range m.Options {
		out.Options = append(out.Options, o.String())
	}
	return out
}
