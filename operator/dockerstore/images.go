package dockerstore

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Image is an image as Docker recorded it.
type Image struct {
	ID      digest.Digest
	Tags    []string // and digests; none when it is dangling
	Created time.Time
	Chains  []digest.Digest // of its layers, lowest first
}

// Top is the chain of all its layers; empty for an image without any.
func (i Image) Top() digest.Digest {
	if len(i.Chains) == 0 {
		return ""
	}
	return i.Chains[len(i.Chains)-1]
}

// imageConfig is the part of an image's configuration that is used here.
type imageConfig struct {
	Created *time.Time `json:"created"`
	OS      string     `json:"os"`
	RootFS  *struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// readImages reads imagedb, and the names that images have.
func (r *reader) readImages() error {
	tags, err := r.readTags()
	if err != nil {
		return err
	}
	return r.forEachEntry(path.Join(r.base, "imagedb/content/sha256"), func(entry fs.DirEntry, name string) error {
		id, err := parseEncoded(entry.Name())
		if err != nil {
			return err
		}
		raw, err := r.readFile(name, maxJSON)
		if err != nil {
			return err
		}
		if digest.FromBytes(raw) != id {
			return fault.New(fault.Invalid, "its content does not have the digest of its name")
		}
		image, err := decodeImage(raw)
		if err != nil {
			return err
		}
		image.ID, image.Tags = id, tags[id]
		r.records.Images = append(r.records.Images, image)
		return nil
	})
}

// decodeImage reads an image's configuration.
func decodeImage(raw []byte) (Image, error) {
	var c imageConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return Image{}, fault.New(fault.Invalid, "no image configuration: %w", err)
	}
	if c.RootFS == nil {
		return Image{}, fault.New(fault.Unsupported, "an image configuration without rootfs")
	}
	if c.RootFS.Type != "layers" {
		return Image{}, fault.New(fault.Unsupported, "a rootfs of type %.40q, where Docker on Linux writes layers", c.RootFS.Type)
	}
	var image Image
	if c.Created != nil {
		image.Created = *c.Created
	}
	var top digest.Digest
	for _, text := range c.RootFS.DiffIDs {
		diff, err := parseDigest(text)
		if err != nil {
			return Image{}, err
		}
		top = chainID(top, diff)
		image.Chains = append(image.Chains, top)
	}
	return image, nil
}

// printableName is what names of images are made of; they end up on terminals.
var printableName = regexp.MustCompile(`^[!-~]+$`)

// readTags reads which names lead to which image.
func (r *reader) readTags() (map[digest.Digest][]string, error) {
	name := path.Join(r.base, "repositories.json")
	raw, err := r.readFile(name, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tags, err := decodeTags(raw)
	if err != nil {
		r.addDamage(name, err)
	}
	return tags, nil
}

// decodeTags reads repositories.json (reference/store.go).
func decodeTags(raw []byte) (map[digest.Digest][]string, error) {
	var store struct {
		Repositories map[string]map[string]string
	}
	if err := json.Unmarshal(raw, &store); err != nil {
		return nil, fault.New(fault.Invalid, "no list of names: %w", err)
	}
	tags := map[digest.Digest][]string{}
	for _, repository := range store.Repositories {
		for name, text := range repository {
			id, err := parseDigest(text)
			if err != nil {
				return nil, err
			}
			if !printableName.MatchString(name) {
				return nil, fault.New(fault.UnsafeInput, "%.100q is no name of an image", name)
			}
			tags[id] = append(tags[id], name)
		}
	}
	for _, names := range tags {
		slices.Sort(names)
	}
	return tags, nil
}
