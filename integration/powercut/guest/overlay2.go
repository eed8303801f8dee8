package guest

import (
	"context"
	"io"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/daemon/graphdriver/overlay2"
	"github.com/docker/docker/pkg/idtools"

	"github.com/overlayzfs/overlayzfs/plugin"
)

// openOverlay2 opens moby's driver on the dataset, in this process.
func openOverlay2() (*store, error) {
	const dir = "/var/lib/cut"
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	if _, err := command("mount", "-t", "zfs", dataset, dir); err != nil {
		return nil, err
	}
	home := dir + "/overlay2"
	d, err := overlay2.Init(home, nil, idtools.IdentityMapping{})
	return &store{door: graph{mobys{d}}, home: home, dataset: dataset}, err
}

// mobys is one of moby's drivers in our words.
type mobys struct{ graphdriver.Driver }

func (m mobys) Create(_ context.Context, id, parent string, o plugin.CreateOptions) error {
	opts := &graphdriver.CreateOpts{MountLabel: o.MountLabel, StorageOpt: o.StorageOpt}
	if o.ReadWrite {
		return m.CreateReadWrite(id, parent, opts)
	}
	return m.Driver.Create(id, parent, opts)
}

func (m mobys) Get(_ context.Context, id, label string) (string, error) {
	return m.Driver.Get(id, label)
}

func (m mobys) Put(_ context.Context, id string) error { return m.Driver.Put(id) }

func (m mobys) Remove(_ context.Context, id string) error { return m.Driver.Remove(id) }

func (m mobys) Exists(_ context.Context, id string) (bool, error) { return m.Driver.Exists(id), nil }

func (m mobys) Diff(_ context.Context, id, parent string) (io.ReadCloser, error) {
	return m.Driver.Diff(id, parent)
}

func (m mobys) ApplyDiff(_ context.Context, id, parent string, diff io.Reader) (int64, error) {
	return m.Driver.ApplyDiff(id, parent, diff)
}
