package inventory

import (
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Match is the layer, image or container that a name means.
type Match struct {
	Kind      string   `json:"kind"` // layer, image or container
	Name      string   `json:"name"`
	ID        string   `json:"id"`
	Namespace string   `json:"namespace,omitempty"` // containerd's
	Snapshot  string   `json:"snapshot,omitempty"`  // containerd's key of a layer
	Image     string   `json:"image,omitempty"`     // of a container
	Tags      []string `json:"tags,omitempty"`
	Running   bool     `json:"running,omitempty"`
	Layers    []*Layer `json:"layers"` // lowest first
	SharedBy  []string `json:"shared_by,omitempty"`
	Exclusive int64    `json:"exclusive"` // apparent size of layers that nothing else uses
	// Chains are the layers that the engine has digests of, the lowest first. A chain need
	// not be in its records or in the store.
	Chains []digest.Digest `json:"-"`
}

// Find returns the only match of a container's name or ID, an image's name or ID, a
// layer's ID, or the key of a snapshot. IDs may be abbreviated. A name space of
// containerd's before a name selects one of several: NAMESPACE/NAME.
func (inv *Inventory) Find(name string) (*Match, error) {
	var all []*Match
	for _, c := range inv.records.Containers {
		if isNamed(c.Namespace, name, c.Name) || isIDPrefix(name, c.ID) {
			all = append(all, inv.matchContainer(c))
		}
	}
	for _, image := range inv.records.Images {
		if image.hasName(name) {
			all = append(all, inv.matchImage(image))
		}
	}
	if len(all) == 0 {
		all = inv.findLayers(name)
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
		names = append(names, strings.TrimSpace(f.Kind+" "+f.Name+" "+ShortID(f.ID)+" "+f.Namespace))
	}
	return nil, fault.New(fault.Invalid, "%q is ambiguous, it can be %s: write more of the ID, or the name space before the name", name, strings.Join(names, ", or "))
}

// findLayers returns the layers of an ID or of a snapshot's key.
func (inv *Inventory) findLayers(name string) (all []*Match) {
	for i := range inv.Layers {
		l := &inv.Layers[i]
		if l.ID == name || isIDPrefix(name, l.ID) && !strings.HasSuffix(l.ID, "-init") ||
			l.Snapshot != "" && (isNamed(l.Namespace, name, l.Snapshot) || isIDPrefix(strings.TrimPrefix(name, "sha256:"), strings.TrimPrefix(l.Snapshot, "sha256:"))) {
			all = append(all, matchLayer(l))
		}
	}
	return all
}

// isNamed reports whether a name means something in a name space.
func isNamed(namespace, name, own string) bool {
	return own != "" && (name == own || namespace != "" && name == namespace+"/"+own)
}

// minIDLength is the shortest abbreviation of an ID.
const minIDLength = 4

func isIDPrefix(name, id string) bool { return len(name) >= minIDLength && strings.HasPrefix(id, name) }

// hasName reports whether a name or an abbreviated ID means the image.
func (i ImageRecord) hasName(name string) bool {
	id := strings.TrimPrefix(name, "sha256:")
	if isIDPrefix(id, i.ID) || slices.ContainsFunc(i.OtherIDs, func(other string) bool { return isIDPrefix(id, other) }) {
		return true
	}
	for _, tag := range i.Tags {
		for _, own := range []string{tag, familiarName(tag)} {
			if isNamed(i.Namespace, name, own) || isNamed(i.Namespace, name+":latest", own) {
				return true
			}
		}
	}
	return false
}

// familiarName returns an image's name as Docker shows it.
func familiarName(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
}

func matchLayer(l *Layer) *Match {
	f := &Match{Kind: "layer", Name: ShortID(l.ID), ID: l.ID, Namespace: l.Namespace, Snapshot: l.Snapshot, Layers: []*Layer{l}}
	if l.Chain != "" {
		f.Chains = []digest.Digest{l.Chain}
	}
	return f
}

func (inv *Inventory) matchImage(image ImageRecord) *Match {
	return &Match{
		Kind: "image", Name: image.Name, ID: image.ID, Namespace: image.Namespace, Tags: image.Tags,
		Layers: inv.selectLayers(image.Layers), Chains: image.Chains,
	}
}

func (inv *Inventory) matchContainer(c ContainerRecord) *Match {
	return &Match{
		Kind: "container", Name: c.Name, ID: c.ID, Namespace: c.Namespace, Image: c.Image, Running: c.Running,
		Layers: inv.selectLayers(c.Layers), Chains: c.Chains,
	}
}

// selectLayers returns those of the layers that the store has, in the same order, never
// nil.
func (inv *Inventory) selectLayers(ids []string) []*Layer {
	found := []*Layer{}
	for _, id := range ids {
		for i := range inv.Layers {
			if inv.Layers[i].ID == id {
				found = append(found, &inv.Layers[i])
			}
		}
	}
	return found
}

// TopLayers returns the names of images by the ID of their top layer.
func (inv *Inventory) TopLayers() map[string][]string {
	tops := map[string][]string{}
	for _, image := range inv.records.Images {
		for _, top := range image.Tops {
			tops[top] = append(tops[top], image.Name)
		}
	}
	return tops
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
