package contenders

import (
	"context"
	"io"
	"path/filepath"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/pkg/archive"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// openOurs opens the store in this process, as the plugin would.
func (c *Contender) openOurs() error {
	d, err := plugin.StoreOpener(nil, nil)(context.Background(), plugin.InitParams{Home: filepath.Join(c.Root, mobyproxy.Name)})
	if err != nil {
		return err
	}
	c.Driver, c.close = inProcess{d}, d.Close
	return nil
}

// inProcess is our driver as a graphdriver.Driver, without a socket.
type inProcess struct{ d plugin.Driver }

func (i inProcess) String() string { return mobyproxy.Name }

func (i inProcess) Create(id, parent string, _ *graphdriver.CreateOpts) error {
	return i.d.Create(context.Background(), id, parent, plugin.CreateOptions{})
}

func (i inProcess) CreateReadWrite(id, parent string, _ *graphdriver.CreateOpts) error {
	return i.d.Create(context.Background(), id, parent, plugin.CreateOptions{ReadWrite: true, Recorded: true})
}

func (i inProcess) Get(id, label string) (string, error) {
	return i.d.Get(context.Background(), id, label)
}

func (i inProcess) Put(id string) error    { return i.d.Put(context.Background(), id) }
func (i inProcess) Remove(id string) error { return i.d.Remove(context.Background(), id) }
func (i inProcess) Cleanup() error         { return i.d.Cleanup(context.Background()) }

func (i inProcess) Exists(id string) bool {
	exists, err := i.d.Exists(context.Background(), id)
	return exists && err == nil
}

func (i inProcess) Status() [][2]string {
	status, err := i.d.Status(context.Background())
	if err != nil {
		return [][2]string{{"Error", err.Error()}}
	}
	return status
}

func (i inProcess) GetMetadata(id string) (map[string]string, error) {
	return i.d.Metadata(context.Background(), id)
}

func (i inProcess) Diff(id, parent string) (io.ReadCloser, error) {
	return i.d.Diff(context.Background(), id, parent)
}

func (i inProcess) Changes(id, parent string) ([]archive.Change, error) {
	changes, err := i.d.Changes(context.Background(), id, parent)
	converted := make([]archive.Change, len(changes))
	for n, c := range changes {
		converted[n] = archive.Change{Path: c.Path, Kind: archive.ChangeType(c.Kind)}
	}
	return converted, err
}

func (i inProcess) ApplyDiff(id, parent string, diff io.Reader) (int64, error) {
	return i.d.ApplyDiff(context.Background(), id, parent, diff)
}

func (i inProcess) DiffSize(id, parent string) (int64, error) {
	return i.d.DiffSize(context.Background(), id, parent)
}
