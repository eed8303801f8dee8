package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// door is what the load asks of whatever keeps layers.
type door interface {
	Create(ctx context.Context, l wire.Layer, size int64) error
	// Get mounts a layer and says where.
	Get(ctx context.Context, id string) (dir string, err error)
	Put(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	// Stat tells whether there is a layer, and whether it is one that nobody may
	// take for whole yet.
	Stat(ctx context.Context, id string) (exists, open bool, err error)
	// Diff is a layer's tar.
	Diff(ctx context.Context, id, parent string) ([]byte, error)
	ApplyDiff(ctx context.Context, id, parent string, diff []byte) error
}

// store is a door and the place behind it.
type store struct {
	door
	home    string
	dataset string
	// xattrs says that Diff has user attributes.
	xattrs bool
	// snapshots is the door when it is containerd's, which has more to offer.
	snapshots *snapshotDoor
}

// A plan's names of the drivers besides the plugin.
const (
	snapshotterDriver = "snapshotter"
	overlay2Driver    = "overlay2"
)

// dataset holds the store; it is made in the first round.
const dataset = "tank/cut"

// makeDataset makes the dataset, or takes the one on a pool that was kept.
func makeDataset(sync string) error {
	if _, err := command("zfs", "list", dataset); err == nil {
		_, err := command("zfs", "set", "sync="+sync, dataset)
		return err
	}
	_, err := command("zfs", "create", "-o", "mountpoint=legacy", "-o", "xattr=sa", "-o", "acltype=posix", "-o", "atime=off", "-o", "sync="+sync, dataset)
	return err
}

// open prepares the dataset and starts what keeps layers on it.
func open(ctx context.Context, plan *wire.Plan) (*store, error) {
	if plan.Round == 1 {
		if err := makeDataset(plan.Sync); err != nil {
			return nil, err
		}
	}
	switch plan.Driver {
	case engine.PluginName:
		return openPlugin(ctx)
	case snapshotterDriver:
		return openSnapshotter("/var/lib/cut/snapshotter")
	case overlay2Driver:
		return openOverlay2()
	}
	return nil, fmt.Errorf("no driver %q", plan.Driver)
}

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func makeDir(path string) error { return os.MkdirAll(path, 0o711) }
