package layertar

import (
	"github.com/moby/sys/user"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Options apply to both directions. The zero value is right without user
// namespaces.
type Options struct {
	// IDs maps the owners in the tar (a container's view) to those on disk.
	IDs user.IdentityMapping

	// Base says that the layer to extract has none below it.
	Base bool
}

// maxID is the largest owner; the next number means "unchanged" to chown(2).
const maxID = 1<<32 - 2

// toHost maps a tar's owner to the disk's.
func (o Options) toHost(uid, gid int) (int, int, error) {
	hostUID, hostGID, err := o.IDs.ToHost(uid, gid)
	if err != nil {
		return 0, 0, fault.New(fault.UnsafeInput, "owner %d:%d: %w", uid, gid, err)
	}
	if !validID(hostUID) || !validID(hostGID) {
		return 0, 0, fault.New(fault.UnsafeInput, "owner %d:%d is out of range", uid, gid)
	}
	return hostUID, hostGID, nil
}

// toContainer maps a file's owner to the tar's.
func (o Options) toContainer(uid, gid uint32) (int, int, error) {
	u, g, err := o.IDs.ToContainer(int(uid), int(gid))
	if err != nil {
		return 0, 0, fault.New(fault.Invalid, "owner %d:%d: %w", uid, gid, err)
	}
	return u, g, nil
}

func validID(id int) bool { return id >= 0 && int64(id) <= maxID }
