package inventory

import (
	"cmp"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// use is who uses a layer.
type use struct {
	kind       Kind
	record     dockerstore.Layer // of an image's layer
	images     []string
	containers []string
}

// users are the uses of all layers that Docker knows, by the store's ID.
type users struct {
	records *dockerstore.Records
	byID    map[string]*use
}

func usersOf(records *dockerstore.Records) users {
	u := users{records, map[string]*use{}}
	for id, why := range records.Others {
		u.byID[id] = &use{kind: otherKind(why)}
	}
	for _, layer := range records.Layers {
		u.byID[layer.CacheID] = &use{kind: u.kindOf(layer), record: layer}
	}
	for _, image := range records.Images {
		for _, chain := range image.Chains {
			if use := u.ofChain(chain); use != nil {
				use.kind = Image
				use.images = append(use.images, ImageName(image))
			}
		}
	}
	for _, m := range records.Mounts {
		u.mount(m)
	}
	for _, use := range u.byID {
		slices.SortFunc(use.images, ByName)
		slices.Sort(use.containers)
		use.containers = slices.Compact(use.containers)
	}
	return u
}

// ByName puts images that have a name before those that have only an ID, such as
// the steps of a build.
func ByName(a, b string) int {
	named := func(s string) int {
		if strings.Contains(s, ":") {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(named(a), named(b)), cmp.Compare(a, b))
}

func otherKind(why string) Kind {
	if why == dockerstore.Leaving {
		return Leaving
	}
	return BuildCache
}

// kindOf is the kind of a recorded layer that no image has: BuildKit's, or what
// is left of a pull.
func (u users) kindOf(layer dockerstore.Layer) Kind {
	if other, ok := u.byID[layer.CacheID]; ok && other.kind == BuildCache {
		return BuildCache
	}
	return Image
}

func (u users) ofChain(chain digest.Digest) *use {
	layer, ok := u.records.Layers[chain]
	if !ok {
		return nil
	}
	return u.byID[layer.CacheID]
}

// mount notes a writable layer's own layers, and those it stands on.
func (u users) mount(m dockerstore.Mount) {
	name := u.containerName(m)
	u.byID[m.MountID] = &use{kind: Container, containers: []string{name}}
	if m.InitID != "" {
		u.byID[m.InitID] = &use{kind: Init, containers: []string{name}}
	}
	// Chains are as long as the records say: a loop has no digest.
	for chain := m.Parent; chain != ""; chain = u.records.Layers[chain].Parent {
		if use := u.ofChain(chain); use != nil {
			use.containers = append(use.containers, name)
		}
	}
}

// containerName is the name of the container that has a writable layer. Builds
// have such layers too, under an ID of their own.
func (u users) containerName(m dockerstore.Mount) string {
	for _, c := range u.records.Containers {
		if c.ID == m.Name && c.Name != "" {
			return c.Name
		}
	}
	return Short(m.Name)
}

// layer joins what is seen of a layer with who uses it.
func (u users) layer(dataset string, s overlayzfs.LayerInfo) Layer {
	l := Layer{ID: s.ID, Kind: Unknown, State: s.State, Parent: s.Parent, Depth: s.Depth, Lowers: s.Lowers, Key: s.Key, Limit: limit(dataset, s)}
	if s.Damaged != nil {
		l.Damaged = s.Damaged.Error()
	}
	if use, ok := u.byID[s.ID]; ok {
		l.Kind, l.Images, l.Containers = use.kind, use.images, use.containers
		l.Chain, l.Diff, l.Recorded = use.record.Chain, use.record.Diff, use.record.Size
	} else if u.records.BuildsLocked && dockerstore.BuildKitID(s.ID) {
		l.Kind = BuildCache
	}
	return l
}

// ImageName is what a person calls an image: its first name, or its short ID.
func ImageName(image dockerstore.Image) string {
	if len(image.Tags) > 0 {
		return image.Tags[0]
	}
	return Short(image.ID.Encoded())
}

// Short is an ID as docker(1) prints it. A layer between a container and its
// image keeps what tells it apart.
func Short(id string) string {
	const length = 12
	if len(id) <= length {
		return id
	}
	if len(id) == 64+len("-init") {
		return id[:length] + id[64:]
	}
	return id[:length]
}
