package imagestore

import (
	"context"
	"fmt"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Record is containerd's record of an image: one name of a target.
type Record struct {
	Name   string
	Labels map[string]string
	Target ocispec.Descriptor
}

func (r Record) encode() *imagesapi.Image {
	now := timestamppb.Now()
	return &imagesapi.Image{
		Name: r.Name, Labels: r.Labels, CreatedAt: now, UpdatedAt: now,
		Target: &types.Descriptor{
			MediaType: r.Target.MediaType, Digest: r.Target.Digest.String(), Size: r.Target.Size, Annotations: r.Target.Annotations,
		},
	}
}

// FindRecords returns the records of an image, by its target.
func (c *Client) FindRecords(ctx context.Context, target digest.Digest) (records []Record, err error) {
	said, err := c.images.List(c.named(ctx), &imagesapi.ListImagesRequest{Filters: []string{"target.digest==" + target.String()}})
	for _, image := range said.GetImages() {
		t := image.GetTarget()
		records = append(records, Record{Name: image.GetName(), Labels: image.GetLabels(), Target: ocispec.Descriptor{
			MediaType: t.GetMediaType(), Digest: digest.Digest(t.GetDigest()), Size: t.GetSize(), Annotations: t.GetAnnotations(),
		}})
	}
	return records, errgrpc.ToNative(err)
}

// PutRecord makes a record, or gives the name of another image to this one.
func (c *Client) PutRecord(ctx context.Context, r Record) error {
	_, err := c.images.Create(c.named(ctx), &imagesapi.CreateImageRequest{Image: r.encode()})
	if err = errgrpc.ToNative(err); errdefs.IsAlreadyExists(err) {
		_, err = c.images.Update(c.named(ctx), &imagesapi.UpdateImageRequest{
			Image: r.encode(), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"target", "labels"}},
		})
		err = errgrpc.ToNative(err)
	}
	if err != nil {
		return fmt.Errorf("record image %s: %w", r.Name, err)
	}
	return nil
}
