package inventory

import (
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Match is the layer, image or container that a name means.
type Match struct {
	Kind      string   `json:"kind"` // layer, image or container
	Name      string   `json:"name"`
	ID        string   `json:"id"`
	Image     string   `json:"image,omitempty"` // of a container
	Tags      []string `json:"tags,omitempty"`
	Running   bool     `json:"running,omitempty"`
	Layers    []*Layer `json:"layers"` // lowest first
	SharedBy  []string `json:"shared_by,omitempty"`
	Exclusive int64    `json:"exclusive"` // apparent size of layers that nothing else uses
	// Chains are the layers that Docker has digests of, the lowest first. A chain need
	// not be in Docker's records or in the store.
	Chains []digest.Digest `json:"-"`
}

// Find returns the only match of a container's name or ID, an image's name or ID, or a
// layer's ID. IDs may be abbreviated.
func (inv *Inventory) Find(records *dockerstore.Records, name string) (*Match, error) {
	var all []*Match
	for _, c := range records.Containers {
		if c.Name == name || isIDPrefix(name, c.ID) {
			all = append(all, inv.matchContainer(records, c))
		}
	}
	for _, image := range records.Images {
		if hasTag(image, name) || isIDPrefix(strings.TrimPrefix(name, "sha256:"), image.ID.Encoded()) {
			all = append(all, inv.matchImage(image))
		}
	}
	for i := range inv.Layers {
		if l := &inv.Layers[i]; l.ID == name || isIDPrefix(name, l.ID) && !strings.HasSuffix(l.ID, "-init") {
			all = append(all, matchLayer(l))
		}
	}
	switch len(all) {
	case 0:
		return nil, fault.New(fault.NotFound, "no container, image or layer is called %q", name)
	case 1:
		inv.addSharers(all[0])
		return all[0], nil
	}
	var names []string
	for _, f := range all {
		names = append(names, f.Kind+" "+f.Name+" "+ShortID(f.ID))
	}
	return nil, fault.New(fault.Invalid, "%q is ambiguous, it can be %s: write more of the ID", name, strings.Join(names, ", or "))
}

// minIDLength is the shortest abbreviation of an ID.
const minIDLength = 4

func isIDPrefix(name, id string) bool { return len(name) >= minIDLength && strings.HasPrefix(id, name) }

func hasTag(image dockerstore.Image, name string) bool {
	return slices.Contains(image.Tags, name) || slices.Contains(image.Tags, name+":latest")
}

func matchLayer(l *Layer) *Match {
	f := &Match{Kind: "layer", Name: ShortID(l.ID), ID: l.ID, Layers: []*Layer{l}}
	if l.Chain != "" {
		f.Chains = []digest.Digest{l.Chain}
	}
	return f
}

func (inv *Inventory) matchImage(image dockerstore.Image) *Match {
	f := &Match{Kind: "image", Name: ImageName(image), ID: image.ID.Encoded(), Tags: image.Tags, Layers: []*Layer{}, Chains: image.Chains}
	for _, chain := range image.Chains {
		f.Layers = append(f.Layers, inv.selectLayers(func(l *Layer) bool { return l.Chain == chain })...)
	}
	return f
}

func (inv *Inventory) matchContainer(records *dockerstore.Records, c dockerstore.Container) *Match {
	f := &Match{Kind: "container", Name: c.Name, ID: c.ID, Running: c.Running, Layers: []*Layer{}}
	for _, image := range records.Images {
		if image.ID == c.Image {
			f.Image = ImageName(image)
		}
	}
	for _, m := range records.Mounts {
		if m.Name != c.ID {
			continue
		}
		for chain := m.Parent; chain != ""; chain = records.Layers[chain].Parent {
			f.Chains = append(f.Chains, chain)
			f.Layers = append(inv.selectLayers(func(l *Layer) bool { return l.Chain == chain }), f.Layers...)
		}
		slices.Reverse(f.Chains)
		f.Layers = append(f.Layers, inv.selectLayers(func(l *Layer) bool { return l.ID == m.InitID })...)
		f.Layers = append(f.Layers, inv.selectLayers(func(l *Layer) bool { return l.ID == m.MountID })...)
	}
	return f
}

func (inv *Inventory) selectLayers(want func(*Layer) bool) (found []*Layer) {
	for i := range inv.Layers {
		if want(&inv.Layers[i]) {
			found = append(found, &inv.Layers[i])
		}
	}
	return found
}

// addSharers adds the other users of the layers, and the size that nothing else uses.
func (inv *Inventory) addSharers(f *Match) {
	for _, l := range f.Layers {
		others := slices.DeleteFunc(slices.Concat(l.Images, l.Containers), func(user string) bool { return user == f.Name })
		if f.Kind == "layer" {
			others = slices.Concat(l.Images, l.Containers)
		}
		if len(others) == 0 {
			f.Exclusive += l.apparentSize()
		}
		f.SharedBy = append(f.SharedBy, others...)
	}
	slices.Sort(f.SharedBy)
	f.SharedBy = slices.Compact(f.SharedBy)
}

// ImagesWith returns the images that contain a layer, whether the store has it or not.
func (inv *Inventory) ImagesWith(id string) []string {
	for _, l := range inv.Layers {
		if l.ID == id {
			return l.Images
		}
	}
	for _, missing := range inv.Missing {
		if missing.ID == id {
			return missing.Users
		}
	}
	return nil
}
