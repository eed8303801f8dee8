package plugin

import (
	"math"
	"slices"

	"github.com/moby/sys/user"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// activation is the answer to /Plugin.Activate: the protocols of this plugin.
const activation = `{"Implements":["GraphDriver"]}`

// The calls' names on the wire.
const (
	callInit            = "GraphDriver.Init"
	callCapabilities    = "GraphDriver.Capabilities"
	callCreate          = "GraphDriver.Create"
	callCreateReadWrite = "GraphDriver.CreateReadWrite"
	callGet             = "GraphDriver.Get"
	callPut             = "GraphDriver.Put"
	callRemove          = "GraphDriver.Remove"
	callExists          = "GraphDriver.Exists"
	callMetadata        = "GraphDriver.GetMetadata"
	callStatus          = "GraphDriver.Status"
	callCleanup         = "GraphDriver.Cleanup"
	callChanges         = "GraphDriver.Changes"
	callDiff            = "GraphDriver.Diff"
	callDiffSize        = "GraphDriver.DiffSize"
	callApplyDiff       = "GraphDriver.ApplyDiff"

	// Our own: the engine has no call that changes limits.
	callLimit = "OverlayZFS.Limit"
)

// InitParams are the parameters with which an engine starts a driver.
type InitParams struct {
	Home    string
	Opts    []string
	UIDMaps []IDMap
	GIDMaps []IDMap
}

// IDMap maps a range of a container's user or group IDs to the host's.
type IDMap struct {
	ContainerID int64 `json:"container_id"`
	HostID      int64 `json:"host_id"`
	Size        int64 `json:"size"`
}

// Identity returns the ID maps as an IdentityMapping.
func (p InitParams) Identity() user.IdentityMapping {
	return user.IdentityMapping{UIDMaps: userMaps(p.UIDMaps), GIDMaps: userMaps(p.GIDMaps)}
}

func userMaps(in []IDMap) []user.IDMap {
	var out []user.IDMap
	for _, m := range in {
		out = append(out, user.IDMap{ID: m.ContainerID, ParentID: m.HostID, Count: m.Size})
	}
	return out
}

// equal reports whether p and q describe the same driver.
func (p InitParams) equal(q InitParams) bool {
	return p.Home == q.Home && slices.Equal(p.Opts, q.Opts) &&
		slices.Equal(p.UIDMaps, q.UIDMaps) && slices.Equal(p.GIDMaps, q.GIDMaps)
}

// check refuses parameters that cannot have come from an engine.
func (p InitParams) check() error {
	if p.Home == "" {
		return fault.New(fault.Invalid, "the request names no Home")
	}
	for _, m := range slices.Concat(p.UIDMaps, p.GIDMaps) {
		if !m.valid() {
			return fault.New(fault.Invalid, "the ID map %+v lies outside the valid IDs", m)
		}
	}
	return nil
}

func (m IDMap) valid() bool {
	inRange := func(n int64) bool { return 0 <= n && n <= math.MaxUint32 }
	return inRange(m.ContainerID) && inRange(m.HostID) && 0 < m.Size &&
		inRange(m.Size) && inRange(m.ContainerID+m.Size-1) && inRange(m.HostID+m.Size-1)
}

// layerRequest is the body of every call about a layer. Each call uses some of the fields.
type layerRequest struct {
	ID         string            `json:",omitempty"`
	Parent     string            `json:",omitempty"`
	MountLabel string            `json:",omitempty"`
	StorageOpt map[string]string `json:",omitempty"`
}

// The answers. A failure is an errorResponse; a success has no Err.
type (
	errorResponse        struct{ Err string }
	emptyResponse        struct{}
	capabilitiesResponse struct{ Capabilities capabilities }
	dirResponse          struct{ Dir string }
	existsResponse       struct{ Exists bool }
	metadataResponse     struct{ Metadata map[string]string }
	statusResponse       struct{ Status [][2]string }
	changesResponse      struct{ Changes []Change }
	sizeResponse         struct{ Size int64 }
)

// capabilities are fixed: the tar of a layer is equivalent to the one that was applied, but
// not equal byte for byte.
type capabilities struct{ ReproducesExactDiffs bool }
