package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// importedImage is an image that an Import wrote into containerd's image store.
type importedImage struct {
	Manifest ocispec.Descriptor `json:"manifest"`
	Names    []string           `json:"names"`
	// Top is the chain of all layers, or "".
	Top digest.Digest `json:"top,omitempty"`
	// Parent is the image that the classic builder made before, in Docker's old records.
	Parent digest.Digest `json:"parent,omitempty"`
}

// connect opens the image store of an Import. It fails unless containerd runs.
func (j *Job) connect(ctx context.Context) (err error) {
	if j.Method != Import || j.client != nil {
		return nil
	}
	client, err := imagestore.Dial(*j.ImageStore)
	if err == nil {
		j.client = client
		var places imagestore.Places
		places, err = client.FindPlaces(ctx)
		j.blobs = places.Content
	}
	if err != nil {
		j.disconnect()
	}
	return err
}

func (j *Job) disconnect() {
	if j.client != nil {
		_ = j.client.Close()
		j.client = nil
	}
}

// openImageStore opens the image store as the target of the copy. The connection stays open
// for the steps after it.
func (j *Job) openImageStore(ctx context.Context, tools Tools) (Store, func() error, error) {
	if err := j.connect(ctx); err != nil {
		return nil, nil, err
	}
	store, nothing := &snapshotStore{client: j.client, setLimit: tools.SetLimit}, func() error { return nil }
	if err := j.client.TakeLease(ctx); err != nil || j.Imported != nil {
		return store, nothing, err
	}
	var err error
	j.BuildLeases = nil
	for _, client := range j.buildClients() {
		var ids []string
		if ids, err = client.ListLeases(ctx, isBuildLease); err != nil {
			break
		}
		j.BuildLeases = append(j.BuildLeases, ids...)
	}
	return store, nothing, err
}

// dropLease lets go of what an Import wrote, once images' names and containers' leases hold it.
func (j *Job) dropLease(ctx context.Context) error {
	if j.Method != Import {
		return nil
	}
	defer j.disconnect()
	return j.client.DropLease(ctx)
}

// writeBlob writes the tar of an image layer into the image store of an Import. The tar's
// digest proves the layer's files.
func (c *carrier) writeBlob(ctx context.Context, it item) error {
	if c.job.Method != Import || !needsBlob(c.records, it) {
		return nil
	}
	size, err := c.job.client.WriteBlob(ctx, it.image.Diff, nil, func(w io.Writer) error {
		layer, err := c.source.openLayer(it.id)
		if err != nil {
			return err
		}
		return errors.Join(c.writeTar(w, it, layer.File), layer.Close())
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs[it.image.Diff] = size
	return err
}

// keepsLayer reports whether a layer of a container is not copied again by an Import: an init
// layer never changes, and when the container's record names the image store already, its
// writable layer is complete, and may have been used since.
func (c *carrier) keepsLayer(it item) bool {
	if c.job.Method != Import || it.image != nil {
		return false
	}
	if slices.ContainsFunc(c.records.Mounts, func(m dockerstore.Mount) bool { return m.InitID == it.id }) {
		return true
	}
	return !slices.ContainsFunc(c.records.Containers, func(one dockerstore.Container) bool { return one.ID == it.owner })
}

// importImages writes manifests and configurations when all layers are there, and records
// them in the journal. Nothing names an image yet.
func (c *carrier) importImages(ctx context.Context) error {
	j := c.job
	if j.Method != Import {
		return nil
	}
	was := j.Imported
	j.Imported = map[digest.Digest]importedImage{}
	for _, image := range c.records.Images {
		config, err := c.docker.ImageConfig(j.From, image.ID)
		if err != nil {
			return err
		}
		out := imagestore.Image{Config: config, Top: image.Top()}
		for _, chain := range image.Chains {
			layer, ok := c.records.Layers[chain]
			if !ok {
				return fault.New(fault.NotFound, "image %s lacks layer %s: leave the image out with --skip", image.ID, chain)
			}
			out.Layers = append(out.Layers, imagestore.Layer{Diff: layer.Diff, Size: c.blobs[layer.Diff]})
		}
		done := importedImage{Top: image.Top()}
		if done.Manifest, err = j.client.WriteImage(ctx, out); err != nil {
			return fmt.Errorf("image %s: %w", image.ID, err)
		}
		if done.Names, err = imagestore.Names(image.Tags, done.Manifest.Digest); err != nil {
			return err
		}
		if done.Parent, err = c.docker.ImageParent(j.From, image.ID); err != nil {
			return err
		}
		j.Imported[image.ID] = done
	}
	if err := j.dropStale(ctx, was, c.records); err != nil {
		return err
	}
	if err := j.syncImported(ctx); err != nil {
		return err
	}
	return j.saveDurably(ctx, c.root)
}

// dropStale takes back what an earlier run made of images, names and containers that dockerd
// has removed since with the old driver.
func (j *Job) dropStale(ctx context.Context, was map[digest.Digest]importedImage, records *dockerstore.Records) error {
	for id, image := range was {
		for _, name := range image.Names {
			if slices.Contains(j.Imported[id].Names, name) {
				continue
			}
			if err := j.client.RemoveName(ctx, name, image.Manifest.Digest); err != nil {
				return err
			}
		}
	}
	for _, id := range j.Containers {
		if slices.ContainsFunc(records.Mounts, func(m dockerstore.Mount) bool { return m.Name == id }) {
			continue
		}
		if err := j.client.ReleaseContainer(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// recordContainers saves whose layers are going to be made, for an undo.
func (j *Job) recordContainers(ctx context.Context, r *dataRoot, records *dockerstore.Records) error {
	for _, m := range records.Mounts {
		if !slices.Contains(j.Containers, m.Name) {
			j.Containers = append(j.Containers, m.Name)
		}
	}
	return j.saveDurably(ctx, r)
}

// syncImported waits until layers and blobs are on disk.
func (j *Job) syncImported(ctx context.Context) error {
	blobs, err := openDataRoot(j.blobs)
	if errors.Is(err, fault.NotFound) { // there is no image
		return syncDataset(ctx, j.Dataset)
	}
	if err != nil {
		return err
	}
	return errors.Join(blobs.syncStorage(ctx), blobs.Close(), syncDataset(ctx, j.Dataset))
}

// syncDataset waits until everything written to a dataset is on disk.
func syncDataset(ctx context.Context, dataset string) error {
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	return errors.Join(z.SyncPool(ctx, zfs.PoolOf(dataset)), z.Close())
}
