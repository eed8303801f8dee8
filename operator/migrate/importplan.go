package migrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// planImport plans the way into containerd's image store. containerd and the snapshotter run.
func (p *planner) planImport() (err error) {
	j := &p.plan.Job
	j.Layers, j.ImageStore = j.From, p.ImageStore
	if _, known := dirLayouts[j.From]; !known && j.From != "zfs" && !j.isFromStore() {
		return fault.New(fault.Unsupported, "cannot migrate from the driver %s to the snapshotter (only from overlay2, zfs, vfs, btrfs and the plugin): save its images with `docker save`, and load them on the image store", j.From)
	}
	if err := p.planPlugin(); err != nil {
		return err
	}
	p.checkContainers()
	if slices.ContainsFunc(p.items, func(it item) bool { return it.limit["size"]+it.limit["inodes"] != "" }) {
		if err := p.AskLimits(); err != nil {
			p.plan.addObstacle("containers have limits, which overlayzfs-snapshotter sets: %v", err)
		}
	}
	client, err := imagestore.Dial(*p.ImageStore)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	places, err := client.FindPlaces(context.Background())
	if err != nil {
		return err
	}
	if places.Layers == "" || places.Content == "" {
		return fault.NewWithRemedy(fault.Invalid, "containerd's configuration does not name the snapshotter's root: set exports.root of proxy_plugins.%s, as docs/quickstart-snapshotter.md shows", p.ImageStore.Snapshotter)
	}
	if p.Dataset, err = zfs.DatasetOf(places.Layers); err != nil {
		return fmt.Errorf("find the dataset of the snapshotter's layers: %w", err)
	}
	j.Dataset = p.Dataset
	if err := p.checkPluginApart(); err != nil {
		return err
	}
	if err := p.planSource(); err != nil {
		return err
	}
	if err := p.planBlobs(); err != nil {
		return err
	}
	return errors.Join(p.checkStoreFree(client), p.checkSpace(), p.checkContentSpace(places.Content))
}

// requireNoneImported fails when a container is on the image store already: an undo could not
// tell it from those that were made since, which it deletes.
func (j *Job) requireNoneImported(r *dataRoot) error {
	if j.Method != Import {
		return nil
	}
	id, err := j.findImported(r)
	if err != nil {
		return err
	}
	if id != "" {
		return fault.New(fault.Exists, "container %.12s is on the image store already, and an undo would delete it with those made since: start dockerd with the feature %s, commit what you need of such containers, and remove them (`docker rm`)", id, containerdStore)
	}
	return nil
}

// planBlobs adds up the sizes of the layers' tars, and adds an obstacle for each that cannot
// be made again.
func (p *planner) planBlobs() error {
	seen := map[digest.Digest]bool{}
	for _, it := range p.items {
		if !needsBlob(p.records, it) || seen[it.image.Diff] {
			continue
		}
		seen[it.image.Diff] = true
		size, reason, err := p.examineTar(it)
		if err != nil {
			return err
		}
		if reason != "" {
			p.plan.addObstacle("layer %.12s of %s: the image store needs its tar, which cannot be made again: %s; leave the image out with --skip, or pull or build it again", it.id, imageNames(p.records, it.image.Chain), reason)
		}
		p.plan.ContentBytes += size
	}
	return nil
}

// tarOverhead is at least what an entry takes in a tar besides its content: a header, padding,
// and often one more header.
const tarOverhead = 2048

// examineTar returns the size of a layer's tar, and why it cannot be made again, or "".
func (p *planner) examineTar(it item) (size int64, reason string, err error) {
	record, err := p.docker.TarSplit(p.plan.Job.From, it.image.Chain)
	if err != nil {
		return 0, err.Error(), nil //nolint:nilerr // the error is the reason
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	wrong := record.ReadEntries(func(e dockerstore.TarEntry) error {
		size += e.Size + tarOverhead
		if e.Sparse && reason == "" {
			reason = fmt.Sprintf("the tar has a sparse file (%.200q)", e.Header.Name)
		}
		return nil
	})
	if wrong != nil {
		reason = wrong.Error()
	}
	return size, reason, nil
}

// checkContentSpace adds an obstacle when the blobs do not fit below containerd's root.
func (p *planner) checkContentSpace(dir string) error {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	for errors.Is(err, unix.ENOENT) && dir != "/" { // a new containerd has made no blob yet
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &st)
	}
	if err != nil {
		return fmt.Errorf("statfs %s: %w", dir, err)
	}
	p.plan.ContentAvailable = st.Bavail * uint64(st.Bsize)
	need, what := p.plan.ContentBytes, "the images' blobs need"
	if p.isOnStorePool(dir) && !p.plan.Job.Share {
		need, what = need+p.plan.Bytes, "the images' blobs and layers, on one pool, need"
	}
	if uint64(need) > p.plan.ContentAvailable {
		p.plan.addObstacle("%s up to %d bytes, and %s has %d available: free some space", what, need, dir, p.plan.ContentAvailable)
	}
	return nil
}

// checkStoreFree adds an obstacle for each name and container that the image store has already.
func (p *planner) checkStoreFree(client *imagestore.Client) error {
	ctx := context.Background()
	byDigest := 0
	for _, image := range p.records.Images {
		names, err := imagestore.Names(image.Tags, image.ID)
		if err != nil {
			p.plan.addObstacle("%v: remove the name (`docker rmi`)", err)
			continue
		}
		tags := imagestore.CountTags(image.Tags)
		if byDigest += len(image.Tags) - tags; tags == 0 {
			continue // its name will have the digest of the manifest
		}
		for _, name := range names {
			there, err := client.FindName(ctx, name)
			if err != nil {
				return err
			}
			if there != "" {
				p.plan.addObstacle("the image store has an image %s already: remove or rename it, or leave this one out with --skip", name)
			}
		}
	}
	if byDigest > 0 {
		p.plan.addNote("%d names by digest (NAME@sha256:…) are left out: an image gets a new manifest, so that its digest changes", byDigest)
	}
	for _, m := range p.records.Mounts {
		if err := client.RequireNoContainer(ctx, m.Name); err != nil {
			if !errors.Is(err, fault.Exists) {
				return err
			}
			p.plan.addObstacle("%v", err)
		}
	}
	return nil
}

// reportImportLosses tells the operator what the undo of an Import deletes.
func (p *planner) reportImportLosses() error {
	containers, _, err := p.docker.Containers(p.plan.Job.To)
	if err != nil {
		return err
	}
	made := 0
	for _, c := range containers {
		if !slices.ContainsFunc(p.records.Mounts, func(m dockerstore.Mount) bool { return m.Name == c.ID }) {
			made++
		}
	}
	if made > 0 {
		p.plan.addNote("the undo deletes what was made since the migration: %d containers; images that were made since stay in containerd's image store", made)
	}
	return nil
}
