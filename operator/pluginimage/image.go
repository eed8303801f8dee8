package pluginimage

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of a plugin's image, as `docker plugin push` makes it (plugin/registry.go of
// moby).
const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	ConfigType   = "application/vnd.docker.plugin.v1+json"
	LayerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Image is a plugin as a registry has it: its blobs by digest, and the manifest among them.
type Image struct {
	Blobs    map[digest.Digest][]byte
	Manifest ocispec.Descriptor
}

// Read makes the image of the plugin in a directory that `docker plugin create` takes. The same
// files make the same image.
func Read(dir string) (*Image, error) {
	layer := &bytes.Buffer{}
	packed := gzip.NewWriter(layer)
	plain := digest.Canonical.Digester()
	err := WriteTar(io.MultiWriter(packed, plain.Hash()), filepath.Join(dir, "rootfs"))
	if err := errors.Join(err, packed.Close()); err != nil {
		return nil, fmt.Errorf("read the plugin in %s: %w", dir, err)
	}
	config, err := readConfig(dir, plain.Digest())
	if err != nil {
		return nil, err
	}
	i := &Image{Blobs: map[digest.Digest][]byte{}}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType,
		Config: i.add(ConfigType, config), Layers: []ocispec.Descriptor{i.add(LayerType, layer.Bytes())},
	})
	i.Manifest = i.add(manifestType, manifest)
	return i, err
}

// readConfig returns a plugin's configuration with the digest of its root file system.
func readConfig(dir string, rootfs digest.Digest) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, configName), err)
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": []digest.Digest{rootfs}}
	return json.Marshal(config)
}

func (i *Image) add(mediaType string, blob []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	i.Blobs[d.Digest] = blob
	return d
}
