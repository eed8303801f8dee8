package imagestore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Image is an image as it is written.
type Image struct {
	Config []byte // its bytes give the image its ID in a graphdriver's store
	Layers []Layer
	Top    digest.Digest // the chain of all layers, or ""
}

// Layer is the blob of a layer.
type Layer struct {
	Diff digest.Digest
	Size int64
}

// parentLabel names the manifest of the image that the classic builder made before.
// dockerd hides the parent in `docker images`, unless it has a name of its own.
const parentLabel = "org.mobyproject.image.parent"

// danglingPrefix begins the name of an image without a name; its digest follows.
const danglingPrefix = "moby-dangling@"

// The labels that keep a blob's or a manifest's parts from containerd's garbage collector.
const (
	configRef   = "containerd.io/gc.ref.content.config"
	layerRef    = "containerd.io/gc.ref.content.l.%d"
	snapshotRef = "containerd.io/gc.ref.snapshot."
)

// WriteImage writes an image's configuration and manifest. The blobs of its layers have to
// be there. The same image always has the same manifest.
func (c *Client) WriteImage(ctx context.Context, image Image) (ocispec.Descriptor, error) {
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{},
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(image.Config), Size: int64(len(image.Config))},
	}
	labels := map[string]string{configRef: manifest.Config.Digest.String()}
	for i, layer := range image.Layers {
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: layer.Diff, Size: layer.Size})
		labels[fmt.Sprintf(layerRef, i)] = layer.Diff.String()
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	configLabels := map[string]string{}
	if image.Top != "" {
		configLabels[snapshotRef+c.Snapshotter] = image.Top.String()
	}
	if _, err := c.WriteBlob(ctx, manifest.Config.Digest, configLabels, writeBytes(image.Config)); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: manifest.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	_, err = c.WriteBlob(ctx, desc.Digest, labels, writeBytes(raw))
	return desc, err
}

func writeBytes(raw []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(raw))
		return err
	}
}

// Names returns containerd's names of an image that Docker gave these tags. An image without
// tags is dangling. References by digest are left out: they are of another manifest.
func Names(tags []string, manifest digest.Digest) (names []string, err error) {
	for _, tag := range tags {
		named, err := reference.ParseNormalizedNamed(tag)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%.200q is not an image name: %w", tag, err)
		}
		if !isDigested(named) {
			names = append(names, reference.TagNameOnly(named).String())
		}
	}
	if len(names) == 0 {
		names = []string{danglingPrefix + manifest.String()}
	}
	return names, nil
}

func isDigested(named reference.Named) bool {
	_, ok := named.(reference.Digested)
	return ok
}

// CountTags returns how many references are not by digest.
func CountTags(references []string) (n int) {
	for _, text := range references {
		if named, err := reference.ParseNormalizedNamed(text); err == nil && !isDigested(named) {
			n++
		}
	}
	return n
}

// FindName returns the digest of the image that has a name, or "".
func (c *Client) FindName(ctx context.Context, name string) (digest.Digest, error) {
	said, err := c.images.Get(c.named(ctx), &imagesapi.GetImageRequest{Name: name})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return "", nil
	}
	return digest.Digest(said.GetImage().GetTarget().GetDigest()), err
}

// HasImage reports whether an image's manifest is there, and the snapshot of its topmost layer,
// which may be "".
func (c *Client) HasImage(ctx context.Context, manifest, top digest.Digest) (bool, error) {
	_, err := c.content.Info(c.named(ctx), manifest)
	if err == nil && top != "" {
		err = c.statSnapshot(ctx, top.String())
	}
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// AddName gives an image a name. It fails when another image has it. Parent is the manifest
// of the classic builder's image before, or "".
func (c *Client) AddName(ctx context.Context, name string, manifest ocispec.Descriptor, parent digest.Digest) error {
	image := &imagesapi.Image{
		Name:   name,
		Target: &types.Descriptor{MediaType: manifest.MediaType, Digest: manifest.Digest.String(), Size: manifest.Size},
	}
	if parent != "" {
		image.Labels = map[string]string{parentLabel: parent.String()}
	}
	now := timestamppb.Now()
	image.CreatedAt, image.UpdatedAt = now, now
	_, err := c.images.Create(c.named(ctx), &imagesapi.CreateImageRequest{Image: image})
	if err = errgrpc.ToNative(err); !errdefs.IsAlreadyExists(err) {
		return err
	}
	there, err := c.FindName(ctx, name)
	if err == nil && there != manifest.Digest {
		err = fault.New(fault.Exists, "the image store has another image %.200q: remove or rename it", name)
	}
	return err
}

// RemoveName takes a name from an image, unless the name is another image's by now.
func (c *Client) RemoveName(ctx context.Context, name string, manifest digest.Digest) error {
	there, err := c.FindName(ctx, name)
	if err != nil || there != manifest {
		return err
	}
	_, err = c.images.Delete(c.named(ctx), &imagesapi.DeleteImageRequest{Name: name})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
