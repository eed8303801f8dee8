package transfer

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// carriedDriver is the driver's name in carried records. They are laid out as in a
// data-root, so that package dockerstore can read them.
const carriedDriver = "overlayzfs"

// Pack copies Docker's records of its images into a store.
func Pack(docker *dockerstore.Root, records *dockerstore.Records, to *overlayzfs.CarriedDir) error {
	if err := checkComplete(records); err != nil {
		return err
	}
	names, err := docker.ImageFiles(records)
	if err != nil {
		return err
	}
	from := dockerstore.ImagesDir(records.Driver)
	return Mirror(to.Root, dockerstore.ImagesDir(carriedDriver), names, openerBelow(docker, from))
}

// checkComplete fails for records that are damaged or lack layers of an image.
func checkComplete(records *dockerstore.Records) error {
	if len(records.Damaged) > 0 {
		return fault.New(fault.Invalid, "cannot read a record of Docker: %w", records.Damaged[0])
	}
	for _, image := range records.Images {
		if gap, lacking := records.FindGap("image "+string(image.ID), image.Chains...); lacking {
			return fault.New(fault.Invalid, "Docker's records are incomplete: %s", gap)
		}
	}
	return nil
}

// Unpack reads the records that a store carries.
func Unpack(from *overlayzfs.CarriedDir) (*dockerstore.Root, *dockerstore.Records, error) {
	docker, err := dockerstore.OpenRoot(from.Root)
	if err != nil {
		return nil, nil, err
	}
	records, err := docker.Read(carriedDriver)
	if err == nil {
		err = checkComplete(records)
	}
	if err != nil {
		return nil, nil, errors.Join(err, docker.Close())
	}
	return docker, records, nil
}

// FindForeignLayers returns the layers of containers and builds, children first: the
// layers that no carried record names and that are below no recorded layer. It fails when
// a recorded layer is missing.
func FindForeignLayers(seen []overlayzfs.LayerInfo, records *dockerstore.Records) ([]string, error) {
	layers := map[string]overlayzfs.LayerInfo{}
	for _, s := range seen {
		layers[s.ID] = s
	}
	keep := map[string]bool{}
	for _, recorded := range records.Layers {
		s, there := layers[recorded.CacheID]
		if !there || s.Damaged != nil || s.State == overlayzfs.Building {
			return nil, fault.New(fault.Invalid, "layer %s, which Docker has recorded as %s, is missing or incomplete in the store", recorded.CacheID, recorded.Chain)
		}
		keep[s.ID] = true
		for _, lower := range s.Lowers {
			keep[lower] = true
		}
	}
	var foreign []overlayzfs.LayerInfo
	for _, s := range seen {
		if !keep[s.ID] {
			foreign = append(foreign, s)
		}
	}
	slices.SortFunc(foreign, func(a, b overlayzfs.LayerInfo) int { return b.Depth - a.Depth })
	var ids []string
	for _, s := range foreign {
		ids = append(ids, s.ID)
	}
	return ids, nil
}

// FindUnrecordedLayers returns the layers that known records do not name. They may be a
// container's, a build's or a newer image's.
func FindUnrecordedLayers(seen []overlayzfs.LayerInfo, known *dockerstore.Records) (ids []string) {
	named := map[string]bool{}
	if known != nil {
		for _, layer := range known.Layers {
			named[layer.CacheID] = true
		}
	}
	for _, s := range seen {
		if !named[s.ID] {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// FindConflicts compares a data-root with the records that it received before. It returns
// the images that it would lose, and what has to be removed first because Docker cannot
// do without its layers.
func FindConflicts(local *dockerstore.Records, known ...*dockerstore.Records) (lost, first []string) {
	for _, image := range local.Images {
		if !slices.ContainsFunc(known, func(k *dockerstore.Records) bool { return isKnown(k, image) }) {
			lost = append(lost, fmt.Sprintf("image %s %q", abbreviated(image.ID.Encoded()), image.Tags))
		}
	}
	for _, c := range local.Containers {
		first = append(first, fmt.Sprintf("container %s (%s): docker rm %s", abbreviated(c.ID), c.Name, abbreviated(c.ID)))
	}
	if n := len(local.OtherLayers); n > 0 {
		first = append(first, fmt.Sprintf("%d layers of the build cache: docker builder prune --all", n))
	}
	if len(local.Containers) == 0 && len(local.Mounts) > 0 {
		first = append(first, fmt.Sprintf("%d writable layers: start and stop dockerd", len(local.Mounts)))
	}
	slices.Sort(lost)
	return lost, first
}

// isKnown reports whether known records have an image with all its names.
func isKnown(known *dockerstore.Records, image dockerstore.Image) bool {
	if known == nil {
		return false
	}
	for _, k := range known.Images {
		if k.ID != image.ID {
			continue
		}
		return !slices.ContainsFunc(image.Tags, func(tag string) bool { return !slices.Contains(k.Tags, tag) })
	}
	return false
}

func abbreviated(id string) string { return id[:min(len(id), 12)] }

// openerBelow returns a function that opens files below a directory of a data-root.
func openerBelow(docker *dockerstore.Root, dir string) func(string) (*os.File, error) {
	return func(name string) (*os.File, error) { return docker.OpenFile(path.Join(dir, name)) }
}
