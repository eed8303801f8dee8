package imagereceive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
)

const (
	// maxJSON bounds the size of a manifest and of a configuration.
	maxJSON = 8 << 20
	// maxManifests bounds the manifests of one image. Real ones have one for each platform,
	// and one more for its attestation.
	maxManifests = 1000
)

// The labels by which containerd's garbage collector goes from a blob to others.
const (
	configRef   = "containerd.io/gc.ref.content.config"
	layerRef    = "containerd.io/gc.ref.content.l.%d"
	manifestRef = "containerd.io/gc.ref.content.m.%d"
)

// manifestOrIndex has the fields of both.
type manifestOrIndex struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
}

// tieImages ties the blobs of all images together, and unpacks those for this host's
// platform. It returns how many manifests are unpacked.
func (p *Plan) tieImages(ctx context.Context) (unpacked int, err error) {
	type place struct {
		namespace string
		target    digest.Digest
	}
	done := map[place]bool{}
	for _, image := range p.stream.Index.Images {
		key := place{image.Namespace, image.Target.Digest}
		if done[key] {
			continue
		}
		done[key] = true
		n, err := tie{client: p.in(image.Namespace)}.image(ctx, image.Target.Digest)
		if err != nil {
			return 0, fmt.Errorf("image %s in name space %s: %w", image.Name, image.Namespace, err)
		}
		unpacked += n
	}
	return unpacked, nil
}

// tie works on the images of one name space.
type tie struct{ client *imagestore.Client }

// image goes down from an image's target, over what the content store has.
func (t tie) image(ctx context.Context, target digest.Digest) (unpacked int, err error) {
	seen := map[digest.Digest]bool{target: true}
	for queue := []digest.Digest{target}; len(queue) > 0; queue = queue[1:] {
		doc, err := t.read(ctx, queue[0])
		if errors.Is(err, fault.NotFound) { // another platform's
			continue
		}
		if err != nil {
			return 0, err
		}
		if err := t.client.LabelBlob(ctx, queue[0], doc.labels()); err != nil {
			return 0, err
		}
		for _, m := range doc.Manifests {
			if seen[m.Digest] {
				continue
			}
			if seen[m.Digest] = true; len(seen) > maxManifests {
				return 0, fault.New(fault.UnsafeInput, "it has more than %d manifests", maxManifests)
			}
			if err := m.Digest.Validate(); err != nil {
				return 0, fault.New(fault.UnsafeInput, "it names the invalid digest %.100q", string(m.Digest))
			}
			queue = append(queue, m.Digest)
		}
		isUnpacked, err := t.unpack(ctx, doc)
		if err != nil {
			return 0, err
		}
		if isUnpacked {
			unpacked++
		}
	}
	return unpacked, nil
}

// read decodes a manifest or an index. A blob that is neither has no parts.
func (t tie) read(ctx context.Context, d digest.Digest) (doc manifestOrIndex, err error) {
	size, err := t.client.StatBlob(ctx, d)
	if err != nil || size > maxJSON {
		return doc, err
	}
	raw, err := t.client.ReadBlob(ctx, d, maxJSON)
	if err == nil && json.Unmarshal(raw, &doc) != nil {
		doc = manifestOrIndex{}
	}
	return doc, err
}

// labels returns the labels that hold the parts.
func (m manifestOrIndex) labels() map[string]string {
	labels := map[string]string{}
	if m.Config != nil {
		labels[configRef] = m.Config.Digest.String()
	}
	for i, layer := range m.Layers {
		labels[fmt.Sprintf(layerRef, i)] = layer.Digest.String()
	}
	for i, manifest := range m.Manifests {
		labels[fmt.Sprintf(manifestRef, i)] = manifest.Digest.String()
	}
	return labels
}

// unpack unpacks an image, if it is one for this host's platform and all of it is there.
func (t tie) unpack(ctx context.Context, m manifestOrIndex) (bool, error) {
	if m.Config == nil || len(m.Layers) == 0 {
		return false, nil
	}
	for _, part := range append([]ocispec.Descriptor{*m.Config}, m.Layers...) {
		_, err := t.client.StatBlob(ctx, part.Digest)
		if errors.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	size, err := t.client.StatBlob(ctx, m.Config.Digest)
	if err != nil || size > maxJSON {
		return false, err
	}
	raw, err := t.client.ReadBlob(ctx, m.Config.Digest, maxJSON)
	if err != nil {
		return false, err
	}
	var config ocispec.Image
	if json.Unmarshal(raw, &config) != nil || config.OS != runtime.GOOS || config.Architecture != runtime.GOARCH || len(config.RootFS.DiffIDs) == 0 {
		return false, nil //nolint:nilerr // an artifact, or another platform's
	}
	return true, t.client.Unpack(ctx, m.Config.Digest, m.Layers, config.RootFS.DiffIDs)
}
