package guest

import (
	"context"

	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// openOverlayzfs starts the plugin's process, as an engine does after a boot.
func openOverlayzfs(ctx context.Context) (*store, error) {
	const home = "/var/lib/cut/overlayzfs"
	if err := makeDir(home); err != nil {
		return nil, err
	}
	process, err := pluginproc.Start()
	if err != nil {
		return nil, err
	}
	client := plugin.NewClient(process.Socket)
	init := plugin.InitParams{Home: home, Opts: []string{"overlayzfs.dataset=" + dataset}}
	return &store{driver: client, home: home, dataset: dataset, xattrs: true}, client.Init(ctx, init)
}
