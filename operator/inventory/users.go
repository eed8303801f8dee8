package inventory

import (
	"cmp"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// layerUsers are the images and containers that use a layer.
type layerUsers struct {
	kind       Kind
	record     dockerstore.Layer // of an image layer
	images     []string
	containers []string
}

// userIndex has the users of all layers that Docker knows, by the store's ID.
type userIndex struct {
	records *dockerstore.Records
	byID    map[string]*layerUsers
}

func indexUsers(records *dockerstore.Records) userIndex {
	u := userIndex{records, map[string]*layerUsers{}}
	for id, why := range records.OtherLayers {
		u.byID[id] = &layerUsers{kind: classifyOther(why)}
	}
	for _, layer := range records.Layers {
		u.byID[layer.CacheID] = &layerUsers{kind: u.classifyLayer(layer), record: layer}
	}
	for _, image := range records.Images {
		for _, chain := range image.Chains {
			if use := u.findByChain(chain); use != nil {
				use.kind = Image
				use.images = append(use.images, ImageName(image))
			}
		}
	}
	for _, m := range records.Mounts {
		u.addMount(m)
	}
	for _, use := range u.byID {
		slices.SortFunc(use.images, CompareImageNames)
		slices.Sort(use.containers)
		use.containers = slices.Compact(use.containers)
	}
	return u
}

// CompareImageNames sorts named images before those with only an ID, such as the steps
// of a build.
func CompareImageNames(a, b string) int {
	named := func(s string) int {
		if strings.Contains(s, ":") {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(named(a), named(b)), cmp.Compare(a, b))
}

func classifyOther(why string) Kind {
	if why == dockerstore.PendingRemoval {
		return PendingRemoval
	}
	return BuildCache
}

// classifyLayer returns the kind of a recorded layer that no image has: BuildKit's, or
// the rest of a pull.
func (u userIndex) classifyLayer(layer dockerstore.Layer) Kind {
	if other, ok := u.byID[layer.CacheID]; ok && other.kind == BuildCache {
		return BuildCache
	}
	return Image
}

func (u userIndex) findByChain(chain digest.Digest) *layerUsers {
	layer, ok := u.records.Layers[chain]
	if !ok {
		return nil
	}
	return u.byID[layer.CacheID]
}

// addMount adds a writable layer and its user to all layers below.
func (u userIndex) addMount(m dockerstore.Mount) {
	name := u.containerName(m)
	u.byID[m.MountID] = &layerUsers{kind: Container, containers: []string{name}}
	if m.InitID != "" {
		u.byID[m.InitID] = &layerUsers{kind: Init, containers: []string{name}}
	}
	// The loop ends, because no chain of digests can contain itself.
	for chain := m.Parent; chain != ""; chain = u.records.Layers[chain].Parent {
		if use := u.findByChain(chain); use != nil {
			use.containers = append(use.containers, name)
		}
	}
}

// containerName returns the name of the container that has a writable layer. Builds have
// writable layers too, under their own IDs.
func (u userIndex) containerName(m dockerstore.Mount) string {
	for _, c := range u.records.Containers {
		if c.ID == m.Name && c.Name != "" {
			return c.Name
		}
	}
	return ShortID(m.Name)
}

// describeLayer combines a layer of the store with its users.
func (u userIndex) describeLayer(dataset string, s overlayzfs.LayerInfo) Layer {
	l := Layer{ID: s.ID, Kind: Unknown, State: s.State, Parent: s.Parent, Depth: s.Depth, Lowers: s.Lowers, Key: s.Key, Limit: describeLimit(dataset, s)}
	if s.Damaged != nil {
		l.Damaged = s.Damaged.Error()
	}
	if use, ok := u.byID[s.ID]; ok {
		l.Kind, l.Images, l.Containers = use.kind, use.images, use.containers
		l.Chain, l.Diff, l.Recorded = use.record.Chain, use.record.Diff, use.record.Size
	} else if u.records.BuildsLocked && dockerstore.IsBuildKitID(s.ID) {
		l.Kind = BuildCache
	}
	return l
}

// ImageName returns an image's first name, or its short ID.
func ImageName(image dockerstore.Image) string {
	if len(image.Tags) > 0 {
		return image.Tags[0]
	}
	return ShortID(image.ID.Encoded())
}

// ShortID abbreviates an ID as docker(1) does. An init layer keeps its suffix.
func ShortID(id string) string {
	const length = 12
	if len(id) <= length {
		return id
	}
	if len(id) == 64+len("-init") {
		return id[:length] + id[64:]
	}
	return id[:length]
}
