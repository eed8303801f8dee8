package imagestore

import (
	"context"
	"errors"
	"fmt"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// uncompressedLabel is the label of a blob that has the digest of its tar.
const uncompressedLabel = "containerd.io/uncompressed"

// Unpack has containerd unpack the layers of an image, the lowest first, and ties the
// topmost snapshot to the image's configuration. diffs are the digests of the tars.
// Snapshots that are there are kept.
func (c *Client) Unpack(ctx context.Context, config digest.Digest, layers []ocispec.Descriptor, diffs []digest.Digest) error {
	if len(layers) != len(diffs) {
		return fault.New(fault.Invalid, "the configuration %s has %d layers, its manifest %d", config, len(diffs), len(layers))
	}
	parent := ""
	for i, layer := range layers {
		chain := identity.ChainID(diffs[: i+1 : i+1]).String()
		if err := c.unpackLayer(ctx, chain, parent, diffs[i], layer); err != nil {
			return fmt.Errorf("unpack layer %s: %w", layer.Digest, err)
		}
		parent = chain
	}
	if parent == "" {
		return nil
	}
	return c.LabelBlob(ctx, config, map[string]string{snapshotRef + c.Snapshotter: parent})
}

func (c *Client) unpackLayer(ctx context.Context, chain, parent string, diff digest.Digest, blob ocispec.Descriptor) error {
	s := Snapshot{Key: fmt.Sprintf(snapshots.UnpackKeyFormat, c.lease, chain), Name: chain, Parent: parent, Lease: c.lease}
	if has, err := c.HasSnapshot(ctx, s); has || err != nil {
		return err
	}
	err := c.fillSnapshot(ctx, s, diff, blob)
	if err == nil {
		return c.LabelBlob(ctx, blob.Digest, map[string]string{uncompressedLabel: diff.String()})
	}
	err = errors.Join(err, c.removeSnapshot(context.WithoutCancel(ctx), s.Key))
	if errdefs.IsAlreadyExists(err) { // a pull was faster
		_, err = c.HasSnapshot(ctx, s)
	}
	return err
}

// fillSnapshot makes a snapshot of a layer's blob. containerd computes the digest of the tar.
func (c *Client) fillSnapshot(ctx context.Context, s Snapshot, diff digest.Digest, blob ocispec.Descriptor) error {
	leased := c.leased(ctx, c.lease)
	said, err := c.snapshots.Prepare(leased, &snapshotsapi.PrepareSnapshotRequest{Snapshotter: c.Snapshotter, Key: s.Key, Parent: s.Parent})
	if err != nil {
		return errgrpc.ToNative(err)
	}
	applied, err := c.diffs.Apply(leased, &diffapi.ApplyRequest{
		Diff: &types.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest.String(), Size: blob.Size}, Mounts: said.GetMounts(),
	})
	if err != nil {
		return errgrpc.ToNative(err)
	}
	if got := applied.GetApplied().GetDigest(); got != diff.String() {
		return fault.New(fault.Invalid, "its tar has the digest %s, and the image's configuration says %s", got, diff)
	}
	return c.CommitSnapshot(ctx, s)
}
