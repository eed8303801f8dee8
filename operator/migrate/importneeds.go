package migrate

import (
	"path"
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// dropUnneeded removes from the records what an Import leaves behind: writable layers that
// belong to no container, and layers below no image and no container. It returns the names of
// those writable layers that a container once had.
func (j *Job) dropUnneeded(r *dataRoot, records *dockerstore.Records) (dropped []string, err error) {
	if j.Method != Import {
		return nil, nil
	}
	var kept []dockerstore.Mount
	for _, m := range records.Mounts {
		if !containerID.MatchString(m.Name) {
			continue // of a build
		}
		owned, err := r.exists(path.Join("containers", m.Name, "config.v2.json"))
		if err != nil {
			return nil, err
		}
		if owned {
			kept = append(kept, m)
		} else {
			dropped = append(dropped, m.Name)
		}
	}
	records.Mounts = kept
	needed := map[digest.Digest]bool{}
	need := func(chain digest.Digest) {
		for ; chain != "" && !needed[chain]; chain = records.Layers[chain].Parent {
			needed[chain] = true
		}
	}
	for _, image := range records.Images {
		need(image.Top())
	}
	for _, m := range records.Mounts {
		need(m.Parent)
	}
	for chain := range records.Layers {
		if !needed[chain] {
			delete(records.Layers, chain)
		}
	}
	return dropped, nil
}

// needsBlob reports whether an Import writes a layer's tar: an image has the layer.
func needsBlob(records *dockerstore.Records, it item) bool {
	return it.image != nil && slices.ContainsFunc(records.Images, func(image dockerstore.Image) bool { return slices.Contains(image.Chains, it.image.Chain) })
}

// checkContainers adds an obstacle for each container that an Import cannot switch, and notes
// those that lose something.
func (p *planner) checkContainers() {
	orphans, first := 0, ""
	for _, c := range p.records.Containers {
		if c.Dead && !slices.ContainsFunc(p.records.Mounts, func(m dockerstore.Mount) bool { return m.Name == c.ID }) {
			p.plan.addObstacle("container %.12s (%s) is being removed, and has no layer any more: start dockerd with the driver %s, and remove it (`docker rm -f`)", c.ID, c.Name, p.plan.Job.From)
		}
		if c.Image == "" || slices.ContainsFunc(p.records.Images, func(image dockerstore.Image) bool { return image.ID == c.Image }) {
			continue
		}
		if orphans++; first == "" {
			first = c.ID
		}
	}
	if orphans > 0 {
		p.plan.addNote("%d containers, such as %.12s, stand on an image that was removed: on the image store `docker commit` of such a container makes an image that lacks the layers below; commit it before, or use `docker export`", orphans, first)
	}
}
