package layertar

import (
	"os"

	"github.com/moby/sys/user"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Options apply to both directions. The zero value is right without user
// namespaces.
type Options struct {
	// IDs maps the owners in the tar (a container's view) to those on disk.
	IDs user.IdentityMapping

	// Base says that the layer to extract has none below it. Its whiteouts and opaque markers
	// mean nothing.
	Base bool

	// Below opens the merged tree of the layers below the one to extract. Extract calls it at
	// most once, when an entry needs a directory or a file that the tar does not have, and
	// does not close it. nil: nothing is known of them.
	Below func() (*os.File, error)

	// Warn is called with an entry that became something else than its tar says. nil: nobody
	// wants to know.
	Warn func(entry, what string)

	// Unlogged is called with an entry that the intent log of OpenZFS restores without an
	// extended attribute, because that has an empty value. nil: nobody wants to know.
	Unlogged func(entry string)
}

// unchanged is the owner that chown(2) leaves as it is: the root user's, for a new file.
const unchanged = 1<<32 - 1

// toHost maps a tar's owner to the disk's. Without a map it takes an owner's lower 32 bits,
// as the system call does.
func (o Options) toHost(uid, gid int) (int, int, error) {
	if o.IDs.Empty() {
		return truncateID(uid), truncateID(gid), nil
	}
	hostUID, hostGID, err := o.IDs.ToHost(uid, gid)
	if err != nil {
		return 0, 0, fault.New(fault.UnsafeInput, "owner %d:%d: %w", uid, gid, err)
	}
	return hostUID, hostGID, nil
}

func truncateID(id int) int { return int(uint32(id)) }

// toContainer maps a file's owner to the tar's.
func (o Options) toContainer(uid, gid uint32) (int, int, error) {
	u, g, err := o.IDs.ToContainer(int(uid), int(gid))
	if err != nil {
		return 0, 0, fault.New(fault.Invalid, "owner %d:%d: %w", uid, gid, err)
	}
	return u, g, nil
}
