package guest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// driver is what an engine asks of a storage driver.
type driver interface {
	Create(ctx context.Context, id, parent string, o plugin.CreateOptions) error
	Get(ctx context.Context, id, mountLabel string) (string, error)
	Put(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Exists(ctx context.Context, id string) (bool, error)
	Diff(ctx context.Context, id, parent string) (io.ReadCloser, error)
	ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error)
}

// store is a driver at work and its place.
type store struct {
	driver
	home    string
	dataset string
	// xattrs says that Diff has user attributes.
	xattrs bool
}

// dataset holds the store; it is made in the first round.
const dataset = "tank/cut"

// open prepares the dataset and starts the driver on it.
func open(ctx context.Context, plan *wire.Plan) (*store, error) {
	if _, err := command("zfs", "list", dataset); err != nil {
		create := []string{"create", "-o", "mountpoint=legacy", "-o", "xattr=sa", "-o", "acltype=posix", "-o", "atime=off", dataset}
		if _, err := command("zfs", create...); err != nil {
			return nil, err
		}
	}
	if _, err := command("zfs", "set", "sync="+plan.Sync, dataset); err != nil {
		return nil, err
	}
	switch plan.Driver {
	case "overlayzfs":
		return openOverlayzfs(ctx)
	case "overlay2":
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

// readDiff is a layer's whole tar.
func (s *store) readDiff(ctx context.Context, id, parent string) (_ []byte, err error) {
	stream, err := s.Diff(ctx, id, parent)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(stream)
	if closing := stream.Close(); err == nil {
		err = closing
	}
	return data, err
}
