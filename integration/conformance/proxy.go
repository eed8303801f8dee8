package conformance

import (
	"fmt"
	"path/filepath"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/pkg/idtools"
	"github.com/docker/docker/pkg/plugingetter"
	"github.com/docker/docker/pkg/plugins"
)

// socketPlugin is what moby's plugin store would hand its proxy: a plugin
// that is reached at a socket and sees the same paths as we do.
type socketPlugin struct{ client *plugins.Client }

func (p socketPlugin) Name() string               { return driverName }
func (p socketPlugin) ScopedPath(s string) string { return s }
func (p socketPlugin) IsV1() bool                 { return false }
func (p socketPlugin) Client() *plugins.Client    { return p.client }

// store is a plugin store that holds that one plugin.
type store struct{ plugin socketPlugin }

func (s store) Get(name, _ string, _ int) (plugingetter.CompatPlugin, error) {
	if name != driverName {
		return nil, fmt.Errorf("no plugin %q", name)
	}
	return s.plugin, nil
}

func (s store) GetAllByCap(string) ([]plugingetter.CompatPlugin, error)      { return nil, nil }
func (s store) GetAllManagedPluginsByCap(string) []plugingetter.CompatPlugin { return nil }
func (s store) Handle(string, func(string, *plugins.Client))                 {}

// registerProxy makes the driver at socket known to graphdriver.GetDriver
// under registeredName, by way of moby's proxy.
func registerProxy(socket string) error {
	client, err := plugins.NewClient("unix://"+socket, nil)
	if err != nil {
		return err
	}
	open := func(home string, options []string, ids idtools.IdentityMapping) (graphdriver.Driver, error) {
		return graphdriver.GetDriver(driverName, store{socketPlugin{client}}, graphdriver.Options{
			Root:                filepath.Dir(home),
			DriverOptions:       options,
			IDMap:               ids,
			ExperimentalEnabled: true,
		})
	}
	return graphdriver.Register(registeredName, open)
}
