package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Containerd is what is recorded of a snapshotter's store.
type Containerd struct {
	// Records are containerd's. They are read before Backend: the snapshotter has a record
	// before containerd has, and longer.
	Records *containerdstore.Records
	Backend []containerdstore.Backend
	// Containers are Docker's, where dockerd keeps its images in this containerd.
	Containers []dockerstore.Container
	// Damaged has the records of Docker's that could not be read.
	Damaged []dockerstore.Damage
}

// FromContainerd returns what containerd's and Docker's records say of a store's layers.
func FromContainerd(all Containerd) *Records {
	c := containerdRecords{
		Records: &Records{Engine: "containerd", Uses: map[string]Use{}},
		all:     all, backend: map[string]containerdstore.Backend{}, snapshots: map[snapshotKey]containerdstore.Snapshot{},
	}
	for _, record := range all.Backend {
		c.backend[record.Name] = record
	}
	for _, s := range all.Records.Snapshots {
		c.snapshots[snapshotKey{s.Namespace, s.Key}] = s
	}
	for _, s := range all.Records.Snapshots {
		c.addSnapshot(s)
	}
	c.addUnknown()
	for _, image := range all.Records.Images {
		c.addImage(image)
	}
	for _, container := range c.joinContainers() {
		c.addContainer(container)
	}
	c.findBuilds()
	for _, damage := range all.Records.Damaged {
		c.Warnings = append(c.Warnings, damage.Error())
	}
	for _, damage := range all.Damaged {
		c.Warnings = append(c.Warnings, damage.Error())
	}
	c.sortUsers()
	return c.Records
}

// snapshotKey names a snapshot.
type snapshotKey struct{ namespace, key string }

// containerdRecords adds the records of a snapshotter's store to Records.
type containerdRecords struct {
	*Records
	all       Containerd
	backend   map[string]containerdstore.Backend // by name
	snapshots map[snapshotKey]containerdstore.Snapshot
}

// addSnapshot adds the layer of a snapshot. A view of a snapshot has none.
func (c containerdRecords) addSnapshot(s containerdstore.Snapshot) {
	record, ok := c.backend[s.Name]
	if !ok {
		c.Gaps = append(c.Gaps, dockerstore.Gap{Record: "snapshot " + s.Namespace + "/" + s.Key, Missing: "the snapshotter's record of it"})
		return
	}
	if !record.HasLayer() {
		return
	}
	use := Use{Kind: Snapshot, Snapshot: s.Key, SnapshotName: s.Name, Namespace: s.Namespace, Below: c.resolve(s.Namespace, s.Parent)}
	if chain := digest.Digest(s.Key); record.Kind == containerdstore.Committed && chain.Validate() == nil {
		use.Kind, use.Chain, use.Recorded = Image, chain, cmp.Or(record.Apparent, record.Size)
	}
	c.Uses[record.ID] = use
}

// addUnknown adds the layers whose snapshots containerd does not know.
func (c containerdRecords) addUnknown() {
	for _, record := range c.all.Backend {
		if _, known := c.Uses[record.ID]; !known && record.HasLayer() {
			c.Uses[record.ID] = Use{Kind: Unknown, Snapshot: record.Name, SnapshotName: record.Name, Optional: true}
		}
	}
}

// resolve returns the layers of a snapshot and of those below, the lowest first. A chain
// ends where a record is lost, or comes again in damaged records.
func (c containerdRecords) resolve(namespace, key string) (layers []string) {
	seen := map[string]bool{}
	for key != "" && !seen[key] {
		seen[key] = true
		s, ok := c.snapshots[snapshotKey{namespace, key}]
		if !ok {
			break
		}
		if record, ok := c.backend[s.Name]; ok && record.HasLayer() {
			layers = append(layers, record.ID)
		}
		key = s.Parent
	}
	slices.Reverse(layers)
	return layers
}

// addImage adds an image if one of its manifests is unpacked in the store.
func (c containerdRecords) addImage(image containerdstore.Image) {
	out := ImageRecord{Namespace: image.Namespace, ID: image.Target.Encoded(), Tags: imageTags(image)}
	out.Name = ShortID(out.ID)
	if len(out.Tags) > 0 {
		out.Name = out.Tags[0]
	}
	for _, m := range image.Manifests {
		out.OtherIDs = append(out.OtherIDs, m.Config.Encoded(), m.Digest.Encoded())
		layers := c.addManifest(image.Namespace, out.Name, m)
		out.Layers = append(out.Layers, layers...)
		if n := len(layers); n > 0 {
			out.Chains = append(out.Chains, m.Chains...)
			if c.Uses[layers[n-1]].Chain == m.Chains[len(m.Chains)-1] {
				out.Tops = append(out.Tops, layers[n-1])
			}
		}
	}
	if len(out.Layers) > 0 {
		c.Images = append(c.Images, out)
	}
}

// addManifest returns the layers that a manifest has in the store, and adds its image to
// their users.
func (c containerdRecords) addManifest(namespace, name string, m containerdstore.Manifest) (layers []string) {
	for i, chain := range m.Chains {
		s, ok := c.snapshots[snapshotKey{namespace, string(chain)}]
		if !ok {
			continue
		}
		id := c.backend[s.Name].ID
		use, ok := c.Uses[id]
		if !ok {
			continue
		}
		use.Kind, use.Diff, use.Images = Image, m.Diffs[i], append(use.Images, name)
		c.Uses[id] = use
		layers = append(layers, id)
	}
	return layers
}

// imageTags returns the names that people gave an image. Docker names an image without a
// tag itself, and the CRI by the digest of its configuration.
func imageTags(image containerdstore.Image) (tags []string) {
	for _, name := range image.Names {
		if strings.HasPrefix(name, "sha256:") || strings.HasPrefix(name, "moby-dangling@") {
			continue
		}
		if image.Namespace == dockerNamespace {
			name = familiarName(name)
		}
		tags = append(tags, name)
	}
	slices.SortFunc(tags, func(a, b string) int { // a tag before a digest
		return cmp.Or(cmp.Compare(strings.Count(a, "@"), strings.Count(b, "@")), cmp.Compare(a, b))
	})
	return tags
}

// dockerNamespace is Docker's name space, unless daemon.json names another.
const dockerNamespace = "moby"

// joinContainers returns containerd's containers, named and completed by Docker's. Docker
// records a container in containerd only while it runs.
func (c containerdRecords) joinContainers() []containerdstore.Container {
	byID := map[string]containerdstore.Container{}
	for _, container := range c.all.Records.Containers {
		byID[container.Namespace+"/"+container.ID] = container
	}
	for key := range c.snapshots {
		for _, d := range c.all.Containers {
			if d.ID != key.key {
				continue
			}
			container := byID[key.namespace+"/"+d.ID]
			container.Namespace, container.ID, container.Key = key.namespace, d.ID, key.key
			container.Name, container.Running = cmp.Or(d.Name, d.ID), d.Running
			container.Image = cmp.Or(string(d.Image), container.Image)
			byID[key.namespace+"/"+d.ID] = container
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b containerdstore.Container) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}

// addContainer adds a container, and makes it a user of its layers.
func (c containerdRecords) addContainer(container containerdstore.Container) {
	out := ContainerRecord{Name: container.Name, Namespace: container.Namespace, ID: container.ID, Running: container.Running}
	if image := c.findImage(container.Namespace, container.Image); image != nil {
		out.Image, out.ImageID = image.Name, image.ID
	}
	out.Layers = c.resolve(container.Namespace, container.Key)
	s := c.snapshots[snapshotKey{container.Namespace, container.Key}]
	own := c.backend[s.Name].ID
	initID := c.backend[c.snapshots[snapshotKey{container.Namespace, container.ID + "-init"}].Name].ID
	for _, id := range out.Layers {
		use := c.Uses[id]
		switch id {
		case own:
			use.Kind = Container
		case initID:
			use.Kind = Init
		default:
			if use.Chain != "" {
				out.Chains = append(out.Chains, use.Chain)
			}
		}
		use.Containers = append(use.Containers, out.Name)
		c.Uses[id] = use
	}
	if s.Name == "" {
		c.Gaps = append(c.Gaps, dockerstore.Gap{Record: fmt.Sprintf("container %s (%s)", container.ID, container.Name), Missing: "the record of its snapshot"})
	}
	c.Containers = append(c.Containers, out)
}

// findImage returns the image that a container's record names: by a name in containerd's,
// by a digest in Docker's.
func (c containerdRecords) findImage(namespace, name string) *ImageRecord {
	for i := range c.Images {
		image := &c.Images[i]
		id := strings.TrimPrefix(name, "sha256:")
		if image.Namespace == namespace && (image.ID == id || slices.Contains(image.OtherIDs, id) ||
			slices.Contains(image.Tags, name) || slices.Contains(image.Tags, familiarName(name))) {
			return image
		}
	}
	return nil
}

// findBuilds marks the layers that only BuildKit uses. It names snapshots and leases by IDs
// of its own form.
func (c containerdRecords) findBuilds() {
	for _, s := range c.all.Records.Snapshots {
		id := c.backend[s.Name].ID
		use, ok := c.Uses[id]
		if !ok || len(use.Images)+len(use.Containers) > 0 {
			continue
		}
		if dockerstore.IsBuildKitID(s.Key) || slices.ContainsFunc(s.Leases, dockerstore.IsBuildKitID) {
			use.Kind = BuildCache
			c.Uses[id] = use
		}
	}
}
