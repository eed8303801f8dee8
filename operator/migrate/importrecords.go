package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
)

// nameImages gives the images their names. It needs containerd, and takeBack undoes it.
func (j *Job) nameImages(ctx context.Context) step {
	forEach := func(run func(name string, image importedImage) error) error {
		for _, id := range slices.Sorted(maps.Keys(j.Imported)) {
			image := j.Imported[id]
			for _, name := range image.Names {
				if err := errors.Join(ctx.Err(), run(name, image)); err != nil {
					return fmt.Errorf("image %s: %w", name, err)
				}
			}
		}
		return nil
	}
	return step{
		"name the images",
		func() error {
			return forEach(func(name string, image importedImage) error {
				return j.client.AddName(ctx, name, image.Manifest, j.Imported[image.Parent].Manifest.Digest)
			})
		},
		func() error {
			return forEach(func(name string, image importedImage) error {
				return j.client.RemoveName(ctx, name, image.Manifest.Digest)
			})
		},
	}
}

// The fields of a container's record that name its image.
const (
	imageField    = "Image"
	manifestField = "ImageManifest"
)

// switchContainers writes snapshotter and manifest into containers' records. The undo sets
// records of containers aside that were created since.
func (j *Job) switchContainers(ctx context.Context, r *dataRoot) step {
	known := j.hasOldLayer(r)
	return step{
		"name the snapshotter in containers' records",
		func() error {
			return r.setDrivers(j.From, j.To, known, func(fields map[string]json.RawMessage) error {
				image, ok := j.Imported[imageOf(fields)]
				if !ok {
					return nil // its image was removed
				}
				if err := j.replaceConfigImage(ctx, r, fields, imageOf(fields), image.Manifest.Digest); err != nil {
					return err
				}
				return errors.Join(setField(fields, imageField, image.Manifest.Digest), setField(fields, manifestField, image.Manifest))
			})
		},
		func() error {
			err := r.setDrivers(j.To, j.From, known, func(fields map[string]json.RawMessage) error {
				for id, image := range j.Imported {
					if imageOf(fields) == image.Manifest.Digest {
						delete(fields, manifestField)
						return errors.Join(j.restoreConfigImage(fields, image.Manifest.Digest), setField(fields, imageField, id))
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			return r.setContainersAside(j.To, known, j.Containers)
		},
	}
}

// configImage is the part of a container's record that has the image as the operator named it.
type configImage struct {
	container string
	config    map[string]json.RawMessage
	image     string
}

// readConfigImage reports false for a record of another form, which is left alone.
func readConfigImage(fields map[string]json.RawMessage) (c configImage, ok bool) {
	err := errors.Join(json.Unmarshal(fields["ID"], &c.container), json.Unmarshal(fields["Config"], &c.config))
	if err == nil {
		err = json.Unmarshal(c.config[imageField], &c.image)
	}
	return c, err == nil
}

func (c configImage) write(fields map[string]json.RawMessage, image string) error {
	return errors.Join(setField(c.config, imageField, image), setField(fields, "Config", c.config))
}

// replaceConfigImage names the manifest where the operator named an ID or a digest, which the
// image has no longer: `docker image prune -a` would take the image for unused. The journal
// keeps what it was.
func (j *Job) replaceConfigImage(ctx context.Context, r *dataRoot, fields map[string]json.RawMessage, id, manifest digest.Digest) error {
	c, ok := readConfigImage(fields)
	byID := c.image != "" && strings.HasPrefix(id.Encoded(), strings.TrimPrefix(c.image, "sha256:"))
	if !ok || !byID && !strings.Contains(c.image, "@sha256:") {
		return nil
	}
	if j.ConfigImages == nil {
		j.ConfigImages = map[string]string{}
	}
	j.ConfigImages[c.container] = c.image
	if err := j.saveDurably(ctx, r); err != nil {
		return err
	}
	return c.write(fields, manifest.String())
}

func (j *Job) restoreConfigImage(fields map[string]json.RawMessage, manifest digest.Digest) error {
	c, ok := readConfigImage(fields)
	was, replaced := j.ConfigImages[c.container]
	if !ok || !replaced || c.image != manifest.String() {
		return nil
	}
	return c.write(fields, was)
}

func imageOf(fields map[string]json.RawMessage) (id digest.Digest) {
	_ = json.Unmarshal(fields[imageField], &id) // another form is no image that was imported
	return id
}

func setField(fields map[string]json.RawMessage, name string, value any) (err error) {
	fields[name], err = json.Marshal(value)
	return err
}

// deleteImported deletes what an Import wrote and nothing holds any more: the layers of
// containers, then blobs and layers of images.
func (j *Job) deleteImported(ctx context.Context, r *dataRoot) error {
	made, err := r.listNames(containersName)
	if err != nil {
		return err
	}
	for _, id := range append(made, j.Containers...) {
		if !containerID.MatchString(id) {
			continue
		}
		if err := j.client.ReleaseContainer(ctx, id); err != nil {
			return fmt.Errorf("container %.12s: %w", id, err)
		}
	}
	if err := j.releaseBuilds(ctx); err != nil {
		return err
	}
	// Without the lease there is nothing to wait for, but images may have been named before.
	if err := j.client.TakeLease(ctx); err != nil {
		return err
	}
	return j.client.DropLease(ctx)
}

// isBuildLease reports whether BuildKit made a lease. It names leases after its own records,
// with a prefix for builds in its history and a suffix for views and variants, and labels
// temporary ones.
func isBuildLease(id string, labels map[string]string) bool {
	record, _, _ := strings.Cut(strings.TrimPrefix(id, "ref_"), "-")
	_, temporary := labels["buildkit/lease.temporary"]
	return temporary || dockerstore.IsBuildKitID(record)
}

// releaseBuilds ends the leases of BuildKit's cache that was made since the migration: the undo
// deletes BuildKit's own records of it.
func (j *Job) releaseBuilds(ctx context.Context) error {
	if j.Imported == nil {
		return nil // dockerd has not run on the image store
	}
	for _, client := range j.buildClients() {
		made, err := client.ListLeases(ctx, func(id string, labels map[string]string) bool {
			return isBuildLease(id, labels) && !slices.Contains(j.BuildLeases, id)
		})
		for _, id := range made {
			err = errors.Join(err, client.ReleaseLease(ctx, id))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// buildClients are those for the name spaces in which BuildKit has leases.
func (j *Job) buildClients() []*imagestore.Client {
	return []*imagestore.Client{j.client, j.client.BuildHistory()}
}

// hasImageStoreTrace reports whether BuildKit's directory has what only dockerd on the image store
// makes: Docker 28 a file, Docker 26 a directory.
func (j *Job) hasImageStoreTrace(r *dataRoot) (bool, error) {
	for _, name := range []string{"history_c8d.db", "containerd-" + j.To} {
		if ran, err := r.exists(path.Join("buildkit", name)); err != nil || ran {
			return ran, err
		}
	}
	return false, nil
}

// checkImported fails when dockerd has not run on the image store, or a container's layer is
// missing there.
func (j *Job) checkImported(ctx context.Context, r *dataRoot, tools Tools) error {
	// The migration set BuildKit's directory aside.
	ran, err := j.hasImageStoreTrace(r)
	if err != nil {
		return err
	}
	if !ran && !tools.Untried {
		return fault.New(fault.Invalid, "dockerd has not run with the snapshotter since the migration: start it and check the containers, or delete the old layers anyway with --untried")
	}
	if err := j.connect(ctx); err != nil {
		return err
	}
	defer j.disconnect()
	docker, err := dockerstore.OpenRoot(r.Root)
	if err != nil {
		return err
	}
	containers, damaged, err := docker.Containers(j.To)
	if err := errors.Join(err, docker.Close()); err != nil {
		return err
	}
	for _, damage := range damaged {
		return damage
	}
	for _, one := range containers {
		has, err := j.client.HasSnapshot(ctx, imagestore.ContainerSnapshot(one.ID, ""))
		if err != nil {
			return err
		}
		if !has {
			return fault.New(fault.NotFound, "nothing was deleted: the layer of container %.12s is missing in the image store; revert the migration with --undo, or remove the container", one.ID)
		}
	}
	return j.checkImportedImages(ctx)
}

// checkImportedImages fails when an image that still has its name lacks its manifest or its
// layers.
func (j *Job) checkImportedImages(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(j.Imported)) {
		image := j.Imported[id]
		for _, name := range image.Names {
			there, err := j.client.FindName(ctx, name)
			if err != nil {
				return err
			}
			if there != image.Manifest.Digest {
				continue // removed, or pulled again
			}
			whole, err := j.client.HasImage(ctx, there, image.Top)
			if err != nil {
				return err
			}
			if !whole {
				return fault.New(fault.NotFound, "nothing was deleted: image %s lacks its manifest or layers in the image store; revert the migration with --undo, or remove the image", name)
			}
		}
	}
	return nil
}
