package pluginimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layoutTag is the image's name in its layout.
const layoutTag = "latest"

// WriteLayout writes the image as a tar of an OCI image layout (image-spec 1.1), which other
// tools take, too. The same image makes the same bytes.
func (i *Image) WriteLayout(w io.Writer) error {
	named := i.Manifest
	named.Annotations = map[string]string{ocispec.AnnotationRefName: layoutTag}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{named},
	})
	if err != nil {
		return err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	err = errors.Join(addBlob(out, ocispec.ImageLayoutFile, version), addBlob(out, ocispec.ImageIndexFile, index))
	for _, sum := range slices.Sorted(maps.Keys(i.Blobs)) {
		err = errors.Join(err, addBlob(out, blobPath(sum), i.Blobs[sum]))
	}
	return errors.Join(err, out.Close())
}

// blobPath returns the path of a blob in a layout.
func blobPath(sum digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, sum.Algorithm().String(), sum.Encoded())
}

func addBlob(out *tar.Writer, name string, blob []byte) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(blob))}); err != nil {
		return err
	}
	_, err := io.Copy(out, bytes.NewReader(blob))
	return err
}
