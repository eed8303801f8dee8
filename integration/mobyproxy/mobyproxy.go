package mobyproxy

import (
	"fmt"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/pkg/plugingetter"
	"github.com/docker/docker/pkg/plugins"
)

// Name is what the daemon calls the plugin.
const Name = "overlayzfs"

// Open sends Init to the plugin and returns the driver that uses it. The driver's home
// is the directory Name below the options' root.
func Open(socket string, options graphdriver.Options) (graphdriver.Driver, error) {
	client, err := plugins.NewClient("unix://"+socket, nil)
	if err != nil {
		return nil, err
	}
	options.ExperimentalEnabled = true
	return graphdriver.GetDriver(Name, store{client}, options)
}

// store is a plugin store with one plugin, and that plugin, which sees the same paths
// as this process.
type store struct{ client *plugins.Client }

// Name is the daemon's name of the plugin.
func (s store) Name() string               { return Name }
func (s store) ScopedPath(p string) string { return p }
func (s store) IsV1() bool                 { return false }
func (s store) Client() *plugins.Client    { return s.client }

func (s store) Get(name, _ string, _ int) (plugingetter.CompatPlugin, error) {
	if name != Name {
		return nil, fmt.Errorf("no plugin %q", name)
	}
	return s, nil
}

func (store) GetAllByCap(string) ([]plugingetter.CompatPlugin, error)      { return nil, nil }
func (store) GetAllManagedPluginsByCap(string) []plugingetter.CompatPlugin { return nil }
func (store) Handle(string, func(string, *plugins.Client))                 {}
