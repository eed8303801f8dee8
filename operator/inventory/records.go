package inventory

import (
	"cmp"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Records is what an engine has recorded of a store's layers, in terms that both doors
// share. docker.go and containerd.go make it from the engines' own records.
type Records struct {
	Engine     string         // Docker or containerd
	Uses       map[string]Use // of each recorded layer, by its ID in the store
	Images     []ImageRecord
	Containers []ContainerRecord
	// BuildsLocked is set when BuildKit's records could not be read.
	BuildsLocked bool
	Gaps         []dockerstore.Gap
	Warnings     []string
}

// Use is what an engine has recorded of a layer.
type Use struct {
	Kind Kind
	// Snapshot is containerd's key of the layer's snapshot, Namespace where it is one.
	Snapshot, Namespace string
	// SnapshotName is what the snapshotter calls that snapshot.
	SnapshotName string
	Chain, Diff  digest.Digest
	Recorded     int64    // apparent size of an image layer
	Below        []string // recorded layers below, lowest first
	// Images contain the layer. Containers own it or have it below their writable layer.
	Images     []string
	Containers []string
	// Optional is set for a layer that the engine may have removed already.
	Optional bool
}

// ImageRecord is an image of the engine's.
type ImageRecord struct {
	Name      string // its first one, or the short ID
	Namespace string // containerd's
	ID        string // without the algorithm
	OtherIDs  []string
	Tags      []string
	Layers    []string        // recorded ones, lowest first
	Tops      []string        // the uppermost one of each platform, if it is recorded
	Chains    []digest.Digest // of all its layers, lowest first
}

// ContainerRecord is a container of the engine's.
type ContainerRecord struct {
	Name      string
	Namespace string // containerd's
	ID        string
	Image     string // its name, if it is known
	ImageID   string // without the algorithm
	Running   bool
	Layers    []string        // recorded ones, the writable one last
	Chains    []digest.Digest // of its image's layers, lowest first
}

// sortUsers sorts the names of users, and removes duplicates.
func (r *Records) sortUsers() {
	for id, use := range r.Uses {
		slices.SortFunc(use.Images, CompareImageNames)
		use.Images = slices.Compact(use.Images)
		slices.Sort(use.Containers)
		use.Containers = slices.Compact(use.Containers)
		r.Uses[id] = use
	}
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

// sumRecorded returns the apparent size of recorded layers.
func (r *Records) sumRecorded(layers []string) (size int64) {
	for _, id := range layers {
		size += r.Uses[id].Recorded
	}
	return size
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
