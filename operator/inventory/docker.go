package inventory

import (
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// FromDocker returns what Docker's records say of a store's layers.
func FromDocker(records *dockerstore.Records) *Records {
	d := dockerRecords{records, &Records{
		Engine: "Docker", Uses: map[string]Use{}, BuildsLocked: records.BuildsLocked, Gaps: records.Gaps(),
	}}
	for id, why := range records.OtherLayers {
		d.Uses[id] = Use{Kind: classifyOther(why), Optional: true}
	}
	for _, layer := range records.Layers {
		d.addLayer(layer)
	}
	for _, image := range records.Images {
		d.addImage(image)
	}
	mounts := map[string]dockerstore.Mount{}
	for _, m := range records.Mounts {
		mounts[m.Name] = m
		d.addMount(m)
	}
	for _, c := range records.Containers {
		d.addContainer(c, mounts)
	}
	for _, damage := range records.Damaged {
		d.Warnings = append(d.Warnings, damage.Error())
	}
	d.sortUsers()
	return d.Records
}

// dockerRecords adds Docker's records to Records.
type dockerRecords struct {
	docker *dockerstore.Records
	*Records
}

func classifyOther(why string) Kind {
	if why == dockerstore.PendingRemoval {
		return PendingRemoval
	}
	return BuildCache
}

// addLayer adds a recorded layer. One that no image has is BuildKit's, or the rest of a
// pull.
func (d dockerRecords) addLayer(layer dockerstore.Layer) {
	kind := Image
	if d.Uses[layer.CacheID].Kind == BuildCache {
		kind = BuildCache
	}
	below, _ := d.resolve(layer.Parent)
	d.Uses[layer.CacheID] = Use{Kind: kind, Chain: layer.Chain, Diff: layer.Diff, Recorded: layer.Size, Below: below, Optional: kind == BuildCache}
}

// resolve returns the recorded layers of a chain, and their chains, the lowest first. A
// chain ends where a record is lost. No chain of digests can contain itself.
func (d dockerRecords) resolve(top digest.Digest) (layers []string, chains []digest.Digest) {
	for chain := top; chain != ""; chain = d.docker.Layers[chain].Parent {
		chains = append(chains, chain)
		if layer, ok := d.docker.Layers[chain]; ok {
			layers = append(layers, layer.CacheID)
		}
	}
	slices.Reverse(layers)
	slices.Reverse(chains)
	return layers, chains
}

func (d dockerRecords) addImage(image dockerstore.Image) {
	i := ImageRecord{Name: ImageName(image), ID: image.ID.Encoded(), Tags: image.Tags, Chains: image.Chains}
	for _, chain := range image.Chains {
		layer, ok := d.docker.Layers[chain]
		if !ok {
			continue
		}
		i.Layers = append(i.Layers, layer.CacheID)
		if chain == image.Top() {
			i.Tops = []string{layer.CacheID}
		}
		use := d.Uses[layer.CacheID]
		use.Kind, use.Optional, use.Images = Image, false, append(use.Images, i.Name)
		d.Uses[layer.CacheID] = use
	}
	d.Images = append(d.Images, i)
}

// addMount adds a writable layer and its user to all layers below.
func (d dockerRecords) addMount(m dockerstore.Mount) {
	name := d.containerName(m)
	below, _ := d.resolve(m.Parent)
	d.Uses[m.MountID] = Use{Kind: Container, Containers: []string{name}, Below: below}
	if m.InitID != "" {
		d.Uses[m.InitID] = Use{Kind: Init, Containers: []string{name}, Below: below}
	}
	for _, id := range below {
		use := d.Uses[id]
		use.Containers = append(use.Containers, name)
		d.Uses[id] = use
	}
}

func (d dockerRecords) addContainer(c dockerstore.Container, mounts map[string]dockerstore.Mount) {
	out := ContainerRecord{Name: c.Name, ID: c.ID, Running: c.Running}
	if c.Image != "" {
		out.ImageID = c.Image.Encoded()
	}
	for _, image := range d.docker.Images {
		if image.ID == c.Image {
			out.Image = ImageName(image)
		}
	}
	if m, ok := mounts[c.ID]; ok {
		out.Layers, out.Chains = d.resolve(m.Parent)
		if m.InitID != "" {
			out.Layers = append(out.Layers, m.InitID)
		}
		out.Layers = append(out.Layers, m.MountID)
	}
	d.Containers = append(d.Containers, out)
}

// containerName returns the name of the container that has a writable layer. Builds have
// writable layers too, under their own IDs.
func (d dockerRecords) containerName(m dockerstore.Mount) string {
	for _, c := range d.docker.Containers {
		if c.ID == m.Name && c.Name != "" {
			return c.Name
		}
	}
	return ShortID(m.Name)
}

// ImageName returns an image's first name, or its short ID.
func ImageName(image dockerstore.Image) string {
	if len(image.Tags) > 0 {
		return image.Tags[0]
	}
	return ShortID(image.ID.Encoded())
}
