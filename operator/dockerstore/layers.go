package dockerstore

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Layer is an image layer as Docker recorded it (layer/filestore.go).
type Layer struct {
	Chain   digest.Digest // of the layer and all below it
	Parent  digest.Digest // the chain below; empty on a base layer
	Diff    digest.Digest // of its tar
	CacheID string        // the storage driver's ID
	Size    int64         // apparent, in bytes
	// Removing is set when Docker removes the layer at its next start.
	Removing bool
}

// Mount is a writable layer as Docker recorded it.
type Mount struct {
	Name    string        // the container's ID, or a name that a build chose
	MountID string        // the storage driver's ID
	InitID  string        // of the init layer below, or ""
	Parent  digest.Digest // the chain below, or ""
}

// layerID matches the layer IDs that dockerd and BuildKit choose.
var layerID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$`)

const removingSuffix = "-removing"

// readLayers reads layerdb.
func (r *reader) readLayers() error {
	if err := r.refuseUnknownDigests(); err != nil {
		return err
	}
	return r.forEachEntry(path.Join(r.base, "layerdb/sha256"), func(entry fs.DirEntry, name string) error {
		layer, err := r.readLayer(entry.Name(), name)
		if err != nil {
			return err
		}
		if layer.Removing {
			r.records.OtherLayers[layer.CacheID] = PendingRemoval
			return nil
		}
		r.records.Layers[layer.Chain] = layer
		return nil
	})
}

// refuseUnknownDigests reports directories of layerdb for other digest algorithms.
func (r *reader) refuseUnknownDigests() error {
	return r.forEachEntry(path.Join(r.base, "layerdb"), func(entry fs.DirEntry, _ string) error {
		switch entry.Name() {
		case "sha256", "mounts", "tmp":
			return nil
		}
		return fault.New(fault.Unsupported, "Docker 20.10 to 27 have no such record")
	})
}

// HasLayer reports whether Docker has a record of a layer at this moment.
func (r *Root) HasLayer(driver string, chain digest.Digest) bool {
	return checkDriver(driver) == nil && chain.Validate() == nil &&
		r.exists(path.Join(imagesDir, driver, "layerdb/sha256", chain.Encoded()))
}

func (r *reader) readLayer(entry, name string) (l Layer, err error) {
	encodedChain, rest, suffixed := strings.Cut(entry, "-")
	l.Removing = suffixed && strings.HasSuffix(rest, removingSuffix[1:])
	if suffixed && !l.Removing {
		return l, fault.New(fault.Unsupported, "the name is not that of a layer's record")
	}
	if l.Chain, err = parseEncoded(encodedChain); err != nil {
		return l, err
	}
	if l.CacheID, err = r.readID(name, "cache-id", false); err != nil || l.Removing {
		return l, err
	}
	if l.Diff, err = r.readDigest(name, "diff", false); err != nil {
		return l, err
	}
	if l.Parent, err = r.readDigest(name, "parent", true); err != nil {
		return l, err
	}
	if l.Size, err = r.readSize(name); err != nil {
		return l, err
	}
	return l, checkChain(l)
}

// checkChain fails when the record's name does not match its content.
func checkChain(l Layer) error {
	if want := chainID(l.Parent, l.Diff); want != l.Chain {
		return fault.New(fault.Invalid, "diff and parent give the chain %s", want)
	}
	return nil
}

// chainID returns the chain ID of a layer on a parent (image-spec, "Layer ChainID").
func chainID(parent, diff digest.Digest) digest.Digest {
	if parent == "" {
		return diff
	}
	return digest.FromString(string(parent) + " " + string(diff))
}

// readMounts reads the records of writable layers.
func (r *reader) readMounts() error {
	return r.forEachEntry(path.Join(r.base, "layerdb/mounts"), func(entry fs.DirEntry, name string) (err error) {
		m := Mount{Name: entry.Name()}
		if !layerID.MatchString(m.Name) {
			return fault.New(fault.Invalid, "the name is not that of a container")
		}
		if m.MountID, err = r.readID(name, "mount-id", false); err != nil {
			return err
		}
		if m.InitID, err = r.readID(name, "init-id", true); err != nil {
			return err
		}
		if m.Parent, err = r.readDigest(name, "parent", true); err != nil {
			return err
		}
		r.records.Mounts = append(r.records.Mounts, m)
		return nil
	})
}

func (r *reader) readID(dir, file string, optional bool) (string, error) {
	text, err := r.readLine(path.Join(dir, file), optional)
	if err == nil && !layerID.MatchString(text) && (text != "" || !optional) {
		err = fault.New(fault.Invalid, "%s has %.100q, which is not a layer ID", file, text)
	}
	return text, err
}

func (r *reader) readDigest(dir, file string, optional bool) (digest.Digest, error) {
	text, err := r.readLine(path.Join(dir, file), optional)
	if err != nil || text == "" && optional {
		return "", err
	}
	return parseDigest(text)
}

func (r *reader) readSize(dir string) (int64, error) {
	text, err := r.readLine(path.Join(dir, "size"), false)
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 {
		return 0, fault.New(fault.Invalid, "size has %.40q, which is not a size", text)
	}
	return size, nil
}
