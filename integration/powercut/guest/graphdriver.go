package guest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/pluginclient"
	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// graphDriver is what an engine asks of a storage driver.
type graphDriver interface {
	Create(ctx context.Context, id, parent string, o plugin.CreateOptions) error
	Get(ctx context.Context, id, mountLabel string) (string, error)
	Put(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Exists(ctx context.Context, id string) (bool, error)
	Diff(ctx context.Context, id, parent string) (io.ReadCloser, error)
	ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error)
}

// graph is a storage driver as the door that the load knows.
type graph struct{ graphDriver }

func (g graph) Create(ctx context.Context, l wire.Layer, size int64) error {
	o := plugin.CreateOptions{ReadWrite: l.Kind == wire.Init || l.Kind == wire.Container}
	if size > 0 {
		o.StorageOpt = map[string]string{"size": fmt.Sprint(size)}
	}
	return g.graphDriver.Create(ctx, l.ID, l.Parent, o)
}

func (g graph) Stat(ctx context.Context, id string) (exists, open bool, err error) {
	exists, err = g.Exists(ctx, id)
	return exists, false, err
}

func (g graph) Get(ctx context.Context, id string) (string, error) {
	return g.graphDriver.Get(ctx, id, "")
}

func (g graph) ApplyDiff(ctx context.Context, id, parent string, diff []byte) error {
	_, err := g.graphDriver.ApplyDiff(ctx, id, parent, bytes.NewReader(diff))
	return err
}

// Diff reads a layer's whole tar.
func (g graph) Diff(ctx context.Context, id, parent string) (_ []byte, err error) {
	stream, err := g.graphDriver.Diff(ctx, id, parent)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(stream)
	if closing := stream.Close(); err == nil {
		err = closing
	}
	return data, err
}

// openPlugin starts the plugin's process, as an engine does after a boot.
func openPlugin(ctx context.Context) (*store, error) {
	const home = "/var/lib/cut/overlayzfs"
	if err := makeDir(home); err != nil {
		return nil, err
	}
	process, err := pluginproc.StartManaged(filepath.Join(os.Getenv("OVERLAYZFS_PLUGIN_DIR"), "config.json"))
	if err != nil {
		return nil, err
	}
	client := pluginclient.New(process.Socket)
	init := plugin.InitParams{Home: home, Opts: []string{"overlayzfs.dataset=" + dataset}}
	return &store{door: graph{client}, home: home, dataset: dataset, xattrs: true}, client.Init(ctx, init)
}
