package migrate

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// findSkipped returns the IDs of the images that the operator leaves out. It fails for a
// name that is no image, and for an image that a container stands on.
func findSkipped(records *dockerstore.Records, names []string) ([]digest.Digest, error) {
	var ids []digest.Digest
	for _, name := range names {
		image, err := findImage(records, name)
		if err != nil {
			return nil, err
		}
		if id := findContainerOn(records, image); id != "" {
			return nil, fault.New(fault.Invalid, "cannot skip %s: container %.12s stands on it; remove the container, or commit it to another image", name, id)
		}
		ids = append(ids, image.ID)
	}
	return ids, nil
}

// minIDPrefix is the length from which the beginning of an ID names an image.
const minIDPrefix = 4

func findImage(records *dockerstore.Records, name string) (dockerstore.Image, error) {
	var found []dockerstore.Image
	prefix := strings.TrimPrefix(name, "sha256:")
	for _, image := range records.Images {
		if slices.Contains(image.Tags, name) || slices.Contains(image.Tags, name+":latest") {
			return image, nil
		}
		if len(prefix) >= minIDPrefix && strings.HasPrefix(image.ID.Encoded(), prefix) {
			found = append(found, image)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return dockerstore.Image{}, fault.New(fault.NotFound, "cannot skip %.200q: the driver %s has no such image", name, records.Driver)
	}
	return dockerstore.Image{}, fault.New(fault.Invalid, "cannot skip %.200q: several images have IDs that begin so", name)
}

// findContainerOn returns a container that stands on an image, or "".
func findContainerOn(records *dockerstore.Records, image dockerstore.Image) string {
	for _, c := range records.Containers {
		if c.Image == image.ID {
			return c.ID
		}
	}
	for _, m := range records.Mounts {
		if m.Parent != "" && m.Parent == image.Top() {
			return m.Name
		}
	}
	return ""
}

// skipImages removes the job's skipped images from the records, with the layers that
// nothing else needs. It returns those layers.
func (j *Job) skipImages(records *dockerstore.Records) (dropped []digest.Digest) {
	if len(j.Skip) == 0 {
		return nil
	}
	candidates := map[digest.Digest]bool{}
	for _, image := range records.Images {
		if slices.Contains(j.Skip, image.ID) {
			for _, chain := range image.Chains {
				candidates[chain] = true
			}
		}
	}
	records.Images = slices.DeleteFunc(records.Images, func(image dockerstore.Image) bool { return slices.Contains(j.Skip, image.ID) })
	keep := func(chain digest.Digest) {
		for ; chain != "" && candidates[chain]; chain = records.Layers[chain].Parent {
			delete(candidates, chain)
		}
	}
	for _, image := range records.Images {
		keep(image.Top())
	}
	for _, m := range records.Mounts {
		keep(m.Parent)
	}
	for chain, layer := range records.Layers {
		if !candidates[chain] {
			keep(layer.Parent)
		}
	}
	for chain := range candidates {
		delete(records.Layers, chain)
		dropped = append(dropped, chain)
	}
	return dropped
}

// removeSkipped removes the records of skipped images from a copy of a driver's records.
func (r *dataRoot) removeSkipped(dir string, images, layers []digest.Digest) error {
	for _, id := range images {
		content := path.Join(dir, "imagedb/content/sha256", id.Encoded())
		if err := r.Remove(content); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := r.RemoveAll(path.Join(dir, "imagedb/metadata/sha256", id.Encoded())); err != nil {
			return err
		}
	}
	for _, chain := range layers {
		if err := r.RemoveAll(path.Join(dir, "layerdb/sha256", chain.Encoded())); err != nil {
			return err
		}
	}
	return r.removeNames(path.Join(dir, "repositories.json"), images)
}

// removeNames removes the names of images from Docker's list of names.
func (r *dataRoot) removeNames(name string, images []digest.Digest) error {
	raw, err := r.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var list struct {
		Repositories map[string]map[string]digest.Digest
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return fault.New(fault.Invalid, "%s is damaged: %w", name, err)
	}
	for repository, tags := range list.Repositories {
		for tag, id := range tags {
			if slices.Contains(images, id) {
				delete(tags, tag)
			}
		}
		if len(tags) == 0 {
			delete(list.Repositories, repository)
		}
	}
	if raw, err = json.Marshal(list); err != nil {
		return err
	}
	return r.writeFile(name, raw, 0o600)
}

// planSkip resolves the names of images to leave out.
func (p *planner) planSkip() error {
	if len(p.Skip) == 0 {
		return nil
	}
	ids, err := findSkipped(p.records, p.Skip)
	if err != nil {
		return err
	}
	j := &p.plan.Job
	if p.plan.Resumed && j.Phase != Carrying {
		for _, id := range ids {
			if !slices.Contains(j.Skip, id) {
				p.plan.addObstacle("--skip comes too late: all layers are copied; remove the image afterwards")
				return nil
			}
		}
	}
	for _, id := range ids {
		if !slices.Contains(j.Skip, id) {
			j.Skip = append(j.Skip, id)
		}
	}
	return nil
}

// noteSkipped says what becomes of skipped images.
func (p *planner) noteSkipped() {
	j := &p.plan.Job
	switch {
	case len(j.Skip) == 0:
	case j.keepsOld():
		p.plan.addNote("%d images are left out (--skip); --finish deletes them", len(j.Skip))
	default:
		j.Skip = nil
		p.plan.addNote("--skip has no effect, because no layer is copied")
	}
}
