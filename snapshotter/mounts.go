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

// parentLabel names, on a layer that is unpacked before the one it belongs on
// is there, that one. containerd's unpacker sets it.
const parentLabel = "containerd.io/snapshot/parent-chain-id"

// Mounts returns how an active snapshot or a view is mounted.
func (s *Snapshotter) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	defer s.hold(key)()
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
		m, err = s.store.ViewMount(ctx, r.below)
	}
	if err != nil {
		return nil, err
	}
	// After a Commit that failed it may stand on its parent already.
	if r.info.Kind == snapshots.KindActive && beside(r.info) && m.Type == "bind" {
		return []mount.Mount{uppermost(m)}, nil
	}
	out := convert(m)
	maps, err := s.maps(ctx, r)
	out.Options = append(maps, out.Options...)
	return []mount.Mount{out}, err
}

// beside reports whether a layer is unpacked beside the one that it belongs on.
func beside(info snapshots.Info) bool {
	return info.Parent == "" && unpacks(info.Name) && info.Labels[parentLabel] != ""
}

// uppermost tells whoever unpacks a tar that deletions are to be written as
// overlayfs keeps them, though there is nothing below yet. It is for reading
// only: the kernel does not mount an overlay without a lower directory.
func uppermost(m overlayzfs.Mount) mount.Mount {
	return mount.Mount{Type: "overlay", Source: "overlay", Options: []string{"upperdir=" + m.Source}}
}

// convert puts a mount into containerd's terms: flags are options there.
func convert(m overlayzfs.Mount) mount.Mount {
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
