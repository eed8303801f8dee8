package imagestore

import (
	"context"
	"errors"
	"strings"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Snapshot names a snapshot to make: while it is filled, and afterwards.
type Snapshot struct {
	Key    string // while it is filled
	Name   string // when it is committed; "" for a container's, which is not
	Parent string // the committed snapshot below, or ""
	Lease  string // what holds it
}

// ImageSnapshot is the snapshot of an image layer.
func ImageSnapshot(chain, parent digest.Digest) Snapshot {
	return Snapshot{Key: leaseID + "-" + chain.Encoded(), Name: chain.String(), Parent: parent.String(), Lease: leaseID}
}

// InitSnapshot is the snapshot of the files that dockerd makes in each container.
func InitSnapshot(container, parent string) Snapshot {
	return Snapshot{Key: container + "-init-key", Name: container + "-init", Parent: parent, Lease: container}
}

// ContainerSnapshot is the snapshot that a container writes to.
func ContainerSnapshot(container, parent string) Snapshot {
	return Snapshot{Key: container, Parent: parent, Lease: container}
}

// finalName returns the name that the snapshot has in the end.
func (s Snapshot) finalName() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Key
}

// HasSnapshot reports whether the snapshot is made, and has its lease hold one that is
// committed.
func (c *Client) HasSnapshot(ctx context.Context, s Snapshot) (bool, error) {
	err := c.statSnapshot(ctx, s.finalName())
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err == nil && s.Name != "" {
		err = c.makeLease(ctx, s.Lease)
	}
	if err == nil && s.Name != "" {
		err = c.leases.AddResource(c.named(ctx), leases.Lease{ID: s.Lease}, leases.Resource{ID: s.Name, Type: "snapshots/" + c.Snapshotter})
	}
	return err == nil, err
}

func (c *Client) statSnapshot(ctx context.Context, name string) error {
	_, err := c.snapshots.Stat(c.named(ctx), &snapshotsapi.StatSnapshotRequest{Snapshotter: c.Snapshotter, Key: name})
	return errgrpc.ToNative(err)
}

// PrepareSnapshot makes an empty snapshot. What an earlier run began goes.
func (c *Client) PrepareSnapshot(ctx context.Context, s Snapshot) error {
	if err := c.makeLease(ctx, s.Lease); err != nil {
		return err
	}
	if err := c.removeSnapshot(ctx, s.Key); err != nil {
		return err
	}
	_, err := c.snapshots.Prepare(c.leased(ctx, s.Lease), &snapshotsapi.PrepareSnapshotRequest{Snapshotter: c.Snapshotter, Key: s.Key, Parent: s.Parent})
	return errgrpc.ToNative(err)
}

// CommitSnapshot ends the filling of a snapshot. A container's stays writable.
func (c *Client) CommitSnapshot(ctx context.Context, s Snapshot) error {
	if s.Name == "" {
		return nil
	}
	_, err := c.snapshots.Commit(c.leased(ctx, s.Lease), &snapshotsapi.CommitSnapshotRequest{Snapshotter: c.Snapshotter, Name: s.Name, Key: s.Key})
	return errgrpc.ToNative(err)
}

// AbandonSnapshot removes a snapshot that was not filled.
func (c *Client) AbandonSnapshot(ctx context.Context, s Snapshot) error {
	return c.removeSnapshot(ctx, s.Key)
}

func (c *Client) removeSnapshot(ctx context.Context, key string) error {
	_, err := c.snapshots.Remove(c.named(ctx), &snapshotsapi.RemoveSnapshotRequest{Snapshotter: c.Snapshotter, Key: key})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// ReleaseContainer has containerd's garbage collector remove the snapshots of a container. An
// image that was committed from it can stand on that of its init layer, which stays then.
func (c *Client) ReleaseContainer(ctx context.Context, id string) error { return c.dropLease(ctx, id) }

// FindUpper returns the directory that a snapshot's own files lie in.
func (c *Client) FindUpper(ctx context.Context, s Snapshot) (string, error) {
	said, err := c.snapshots.Mounts(c.named(ctx), &snapshotsapi.MountsRequest{Snapshotter: c.Snapshotter, Key: s.Key})
	if err != nil {
		return "", errgrpc.ToNative(err)
	}
	if mounts := said.GetMounts(); len(mounts) == 1 {
		if dir := findUpper(mounts[0]); dir != "" {
			return dir, nil
		}
	}
	return "", fault.New(fault.Unsupported, "the snapshotter %s mounts snapshot %s in a way that is not overlayzfs's", c.Snapshotter, s.Key)
}

// findUpper returns the directory that a mount writes to, or "".
func findUpper(m *types.Mount) string {
	if m.GetType() == "bind" {
		return m.GetSource()
	}
	for _, option := range m.GetOptions() {
		if dir, ok := strings.CutPrefix(option, "upperdir="); ok && m.GetType() == "overlay" {
			return dir
		}
	}
	return ""
}

// RequireNoContainer fails when the store has a snapshot or a lease of a container.
func (c *Client) RequireNoContainer(ctx context.Context, id string) error {
	has, err := c.HasSnapshot(ctx, ContainerSnapshot(id, ""))
	held, listErr := c.leases.List(c.named(ctx), "id=="+id)
	if err := errors.Join(err, listErr); err != nil {
		return err
	}
	if has || len(held) > 0 {
		return fault.New(fault.Exists, "the image store has a layer of container %.12s already: remove the container there (`docker rm`)", id)
	}
	return nil
}
