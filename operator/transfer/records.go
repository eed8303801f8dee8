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

// carriedDriver is the name that carried records have of their driver. They lie as
// in a data-root, so that package dockerstore reads them.
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

// checkComplete refuses records that do not stand by themselves.
func checkComplete(records *dockerstore.Records) error {
	if len(records.Damaged) > 0 {
		return fault.New(fault.Invalid, "a record of Docker cannot be read: %w", records.Damaged[0])
	}
	for _, image := range records.Images {
		if gap, lacking := records.FindGap("image "+string(image.ID), image.Chains...); lacking {
			return fault.New(fault.Invalid, "Docker's records are not whole: %s", gap)
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

// FindForeignLayers are the layers that no carried record names and nothing recorded
// stands on, the uppermost first: those of containers and builds. A layer that is
// recorded and not there is an error.
func FindForeignLayers(seen []overlayzfs.LayerInfo, records *dockerstore.Records) ([]string, error) {
	layers := map[string]overlayzfs.LayerInfo{}
	for _, s := range seen {
		layers[s.ID] = s
	}
	keep := map[string]bool{}
	for _, recorded := range records.Layers {
		s, there := layers[recorded.CacheID]
		if !there || s.Damaged != nil || s.State == overlayzfs.Building {
			return nil, fault.New(fault.Invalid, "layer %s, which Docker knows as %s, is not in the store, or not whole", recorded.CacheID, recorded.Chain)
		}
		keep[s.ID] = true
		for _, lower := range s.Lowers {
			keep[lower] = true
		}
	}
	var strangers []overlayzfs.LayerInfo
	for _, s := range seen {
		if !keep[s.ID] {
			strangers = append(strangers, s)
		}
	}
	slices.SortFunc(strangers, func(a, b overlayzfs.LayerInfo) int { return b.Depth - a.Depth })
	var ids []string
	for _, s := range strangers {
		ids = append(ids, s.ID)
	}
	return ids, nil
}

// FindUnrecordedLayers are the layers that known records do not name, be they a container's, a
// build's or an image's that was made since.
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

// FindConflicts are what a data-root has beyond what some of the known records say,
// those that it received, and would lose; and what has to go first because Docker
// could not do without.
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

// isKnown reports whether an image is known with all its names.
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

// openerBelow opens files of a data-root below a directory.
func openerBelow(docker *dockerstore.Root, dir string) func(string) (*os.File, error) {
	return func(name string) (*os.File, error) { return docker.OpenFile(path.Join(dir, name)) }
}
