package plugin

import (
	"context"
	"io"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Driver is what the protocol asks of a storage driver.
//
// Every context ends when the engine hangs up. A call that is cancelled must leave a layer
// as it was, or as the finished call would have left it. Calls come concurrently, also for
// the same layer.
type Driver interface {
	// Create makes the layer id on top of parent ("" for none).
	Create(ctx context.Context, id, parent string, o CreateOptions) error
	// Get mounts the layer and returns the directory.
	Get(ctx context.Context, id, mountLabel string) (dir string, err error)
	// Put ends one Get.
	Put(ctx context.Context, id string) error
	// Remove removes the layer; a missing layer is no error.
	Remove(ctx context.Context, id string) error
	// Exists reports whether the layer exists.
	Exists(ctx context.Context, id string) (bool, error)
	// Metadata returns the values that `docker inspect` shows for the layer.
	Metadata(ctx context.Context, id string) (map[string]string, error)
	// Status returns the lines that `docker info` shows, in order.
	Status(ctx context.Context) ([][2]string, error)
	// Cleanup ends an engine's use of the driver; another may follow.
	Cleanup(ctx context.Context) error
	// Changes lists the differences between id and parent.
	Changes(ctx context.Context, id, parent string) ([]Change, error)
	// Diff streams the same as a tar. ctx lives as long as the stream. A stream that is not
	// whole ends with an error from Read or from Close.
	Diff(ctx context.Context, id, parent string) (io.ReadCloser, error)
	// DiffSize is the apparent size of that tar's files.
	DiffSize(ctx context.Context, id, parent string) (int64, error)
	// ApplyDiff unpacks a tar into the layer and returns its apparent size. A read error
	// other than io.EOF means that the engine went away half-way.
	//
	// The beginning of the tar can be missing: an engine that lost the connection sends the
	// rest of its stream again, as if it were the whole. The driver must refuse a layer to
	// which an earlier ApplyDiff began and did not end.
	ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error)
	// SetLimits changes the limits of a limited layer. The engine never calls it; the
	// operator's command does.
	SetLimits(ctx context.Context, id string, options map[string]string) error
	// Restart prepares for a new engine that came with the parameters already
	// open: the old one's references are forgotten, so counts are rebuilt from
	// what is mounted. Calls of the old engine may still be ending.
	Restart(ctx context.Context) error
	// BindEngine ties the store to the engine that sent Init, by a token that both
	// sides have: known is what this side kept so far, keep replaces it.
	BindEngine(known []string, keep func(tokens []string) error) error
	// Close ends the use of the Driver. Mounts of containers stay: they outlive the plugin's
	// process.
	Close() error
}

// Opener opens the Driver that Init's parameters describe. When the parameters change, the
// old Driver is closed first. An Opener may be called again after it failed.
type Opener func(ctx context.Context, p InitParams) (Driver, error)

// The types that a Driver shares with the core.
type (
	// CreateOptions are the details of a new layer.
	CreateOptions = overlayzfs.CreateOptions
	// Change is one difference between two layers.
	Change = overlayzfs.Change
)
