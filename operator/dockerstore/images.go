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
	Tags    []string // names with tag or digest; none when the image is dangling
	Created time.Time
	Chains  []digest.Digest // of its layers, lowest first
}

// Top returns the chain of all layers, or "" for an image without layers.
func (i Image) Top() digest.Digest {
	if len(i.Chains) == 0 {
		return ""
	}
	return i.Chains[len(i.Chains)-1]
}

// imageConfig is the part of an image's configuration that this package uses.
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
			return fault.New(fault.Invalid, "the content does not match the digest in the name")
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

// ImageConfig returns an image's configuration byte for byte. Its digest is the image's ID.
func (r *Root) ImageConfig(driver string, id digest.Digest) ([]byte, error) {
	if err := errors.Join(checkDriver(driver), id.Validate()); err != nil {
		return nil, err
	}
	name := path.Join(imagesDir, driver, "imagedb/content/sha256", id.Encoded())
	raw, err := r.readFile(name, maxJSON)
	if err == nil && digest.FromBytes(raw) != id {
		err = Damage{name, fault.New(fault.Invalid, "the content does not match the digest in the name")}
	}
	return raw, err
}

// ImageParent returns the image that the classic builder made a step before an image, or "".
func (r *Root) ImageParent(driver string, id digest.Digest) (digest.Digest, error) {
	if err := errors.Join(checkDriver(driver), id.Validate()); err != nil {
		return "", err
	}
	name := path.Join(imagesDir, driver, "imagedb/metadata/sha256", id.Encoded(), "parent")
	text, err := r.readLine(name, true)
	if err != nil || text == "" {
		return "", err
	}
	return parseDigest(text)
}

// decodeImage reads an image's configuration.
func decodeImage(raw []byte) (Image, error) {
	var c imageConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return Image{}, fault.New(fault.Invalid, "decode the image configuration: %w", err)
	}
	if c.RootFS == nil {
		return Image{}, fault.New(fault.Unsupported, "the image configuration has no rootfs")
	}
	if c.RootFS.Type != "layers" {
		return Image{}, fault.New(fault.Unsupported, "the rootfs has type %.40q; Docker on Linux writes layers", c.RootFS.Type)
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

// printableName matches valid names of images. They are printed on terminals.
var printableName = regexp.MustCompile(`^[!-~]+$`)

// readTags reads the names of all images.
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
		return nil, fault.New(fault.Invalid, "decode the list of names: %w", err)
	}
	tags := map[digest.Digest][]string{}
	for _, repository := range store.Repositories {
		for name, text := range repository {
			id, err := parseDigest(text)
			if err != nil {
				return nil, err
			}
			if !printableName.MatchString(name) {
				return nil, fault.New(fault.UnsafeInput, "%.100q is not an image name", name)
			}
			tags[id] = append(tags[id], name)
		}
	}
	for _, names := range tags {
		slices.Sort(names)
	}
	return tags, nil
}
