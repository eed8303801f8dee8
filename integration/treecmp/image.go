package treecmp

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// Image is an image in an archive of `docker save`.
type Image struct {
	ID      string   // digest of the configuration, "sha256:…"
	DiffIDs []string // of the layers, as the configuration has them
	file    *os.File
	layers  []*io.SectionReader
}

// OpenImage opens an archive of one image.
func OpenImage(archive string) (*Image, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	image, err := readImage(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", archive, err), f.Close())
	}
	return image, nil
}

// Close closes the archive.
func (i *Image) Close() error { return i.file.Close() }

func readImage(f *os.File) (*Image, error) {
	members, err := findMembers(f)
	if err != nil {
		return nil, err
	}
	var manifests []struct {
		Config string
		Layers []string
	}
	if err := readJSON(members, "manifest.json", &manifests); err != nil {
		return nil, err
	}
	if len(manifests) != 1 {
		return nil, fmt.Errorf("%d images, want one", len(manifests))
	}
	var config struct {
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := readJSON(members, manifests[0].Config, &config); err != nil {
		return nil, err
	}
	image := &Image{
		ID: "sha256:" + strings.TrimSuffix(path.Base(manifests[0].Config), ".json"), DiffIDs: config.Rootfs.DiffIDs, file: f,
	}
	for _, name := range manifests[0].Layers {
		layer, ok := members[name]
		if !ok {
			return nil, fmt.Errorf("the archive has no layer %s", name)
		}
		image.layers = append(image.layers, layer)
	}
	if len(image.layers) != len(image.DiffIDs) {
		return nil, fmt.Errorf("%d layers, but the configuration names %d", len(image.layers), len(image.DiffIDs))
	}
	return image, nil
}

// findMembers finds the files in an archive. A link stands for its target: older
// engines save a layer that two images share as a link.
func findMembers(f *os.File) (map[string]*io.SectionReader, error) {
	members := make(map[string]*io.SectionReader)
	in := tar.NewReader(f)
	for {
		header, err := in.Next()
		if err == io.EOF {
			return members, nil
		}
		if err != nil {
			return nil, err
		}
		switch header.Typeflag {
		case tar.TypeReg:
			offset, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			members[header.Name] = io.NewSectionReader(f, offset, header.Size)
		case tar.TypeSymlink:
			members[header.Name] = members[path.Join(path.Dir(header.Name), header.Linkname)]
		}
	}
}

func readJSON(members map[string]*io.SectionReader, name string, into any) error {
	member, ok := members[name]
	if !ok {
		return fmt.Errorf("the archive has no %s", name)
	}
	if err := json.NewDecoder(member).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Verify checks that every layer has the digest in the configuration.
func (i *Image) Verify() error {
	for n, layer := range i.Layers() {
		sum, err := sumOf(layer)
		if err != nil {
			return err
		}
		if got := "sha256:" + sum; got != i.DiffIDs[n] {
			return fmt.Errorf("layer %d has the digest %s, and the configuration says %s", n, got, i.DiffIDs[n])
		}
	}
	return nil
}

// Layers returns the layers' tars, decompressed, the base first. Each can be read once.
func (i *Image) Layers() []io.Reader {
	readers := make([]io.Reader, len(i.layers))
	for n, layer := range i.layers {
		readers[n] = &plain{raw: io.NewSectionReader(layer, 0, layer.Size())}
	}
	return readers
}

// plain reads a layer that may be compressed.
type plain struct {
	raw *io.SectionReader
	tar io.Reader
}

func (p *plain) Read(b []byte) (int, error) {
	if p.tar == nil {
		var err error
		if p.tar, err = decompressed(p.raw); err != nil {
			return 0, err
		}
	}
	return p.tar.Read(b)
}

func decompressed(raw *io.SectionReader) (io.Reader, error) {
	magic := make([]byte, 2)
	if n, err := raw.ReadAt(magic, 0); n < len(magic) {
		return nil, fmt.Errorf("a layer of %d bytes: %w", raw.Size(), err)
	}
	if magic[0] == 0x1f && magic[1] == 0x8b { // RFC 1952
		return gzip.NewReader(raw)
	}
	return raw, nil
}

// Tree describes the layers together.
func (i *Image) Tree() (*Tree, error) { return FromLayers(i.Layers()...) }
