package containerdstore

import (
	"encoding/json"
	"errors"
	"io/fs"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Manifest is an image for one platform. Blobs, Diffs and Chains are of its layers, the
// lowest first.
type Manifest struct {
	Digest digest.Digest
	Config digest.Digest
	Blobs  []digest.Digest // of what a registry has, compressed or not
	Diffs  []digest.Digest // of the tars
	Chains []digest.Digest // of a layer and all below
}

const (
	// maxJSON bounds the size of a manifest and of a configuration.
	maxJSON = 8 << 20
	// maxManifests bounds the manifests of one image. Real ones have one for each platform,
	// and one more for its attestation.
	maxManifests = 1000
)

// document is a manifest or an index of manifests.
type document struct {
	Manifests []descriptor `json:"manifests"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

type descriptor struct {
	Digest      digest.Digest     `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

// isAttestation reports whether BuildKit's statement about an image is described. Its layers
// are no file systems.
func (d descriptor) isAttestation() bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
}

// readManifests reads the manifests of an image that the content store has. A missing file
// is of a platform that was not pulled.
func (r *Root) readManifests(image *Image, damaged func(record string, err error)) {
	queue := []digest.Digest{image.Target}
	seen := map[digest.Digest]bool{image.Target: true}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		manifest, below, err := r.readManifest(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			damaged("manifest "+string(next)+" of an image in name space "+image.Namespace, err)
		case manifest != nil:
			image.Manifests = append(image.Manifests, *manifest)
		}
		for _, d := range below {
			if !d.isAttestation() && !seen[d.Digest] && len(seen) < maxManifests {
				seen[d.Digest] = true
				queue = append(queue, d.Digest)
			}
		}
	}
}

// readManifest reads a manifest with its configuration, or what an index describes.
func (r *Root) readManifest(d digest.Digest) (*Manifest, []descriptor, error) {
	raw, err := r.readJSON(d)
	if err != nil {
		return nil, nil, err
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, nil, fault.New(fault.Invalid, "decode the manifest: %w", err)
	}
	if doc.Config.Digest == "" {
		return nil, doc.Manifests, nil
	}
	if raw, err = r.readJSON(doc.Config.Digest); err != nil {
		return nil, nil, err
	}
	manifest, err := decodeManifest(doc, raw)
	if manifest != nil {
		manifest.Digest = d
	}
	return manifest, nil, err
}

// decodeManifest joins a manifest with the configuration of its image. It returns nil for
// what is no image.
func decodeManifest(doc document, config []byte) (*Manifest, error) {
	var c struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fault.New(fault.Invalid, "decode the configuration of the image: %w", err)
	}
	if len(c.RootFS.DiffIDs) != len(doc.Layers) {
		return nil, nil // such as an artifact, whose configuration has no file system
	}
	m := &Manifest{Config: doc.Config.Digest, Diffs: c.RootFS.DiffIDs}
	var chain digest.Digest
	for i, diff := range m.Diffs {
		if err := errors.Join(checkDigest(diff), checkDigest(doc.Layers[i].Digest)); err != nil {
			return nil, err
		}
		chain = chainID(chain, diff)
		m.Chains = append(m.Chains, chain)
		m.Blobs = append(m.Blobs, doc.Layers[i].Digest)
	}
	return m, nil
}

// chainID returns the chain ID of a layer on a parent (image-spec, "Layer ChainID").
func chainID(parent, diff digest.Digest) digest.Digest {
	if parent == "" {
		return diff
	}
	return digest.FromString(string(parent) + " " + string(diff))
}
