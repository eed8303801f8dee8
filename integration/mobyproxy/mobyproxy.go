// Package mobyproxy reaches a graphdriver plugin at a socket through moby's own
// plugin proxy, as dockerd does, without a dockerd. Which program listens there
// is for others to see to: package pluginproc starts ours.
package mobyproxy

import (
	"fmt"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/pkg/plugingetter"
	"github.com/docker/docker/pkg/plugins"
)

// Name is what the daemon calls the plugin.
const Name = "overlayzfs"

// Open sends the plugin Init and returns the driver that leads to it. Its home
// is NAME below the options' root.
func Open(socket string, options graphdriver.Options) (graphdriver.Driver, error) {
	client, err := plugins.NewClient("unix://"+socket, nil)
	if err != nil {
		return nil, err
	}
	options.ExperimentalEnabled = true
	return graphdriver.GetDriver(Name, store{client}, options)
}

// store is a plugin store that holds one plugin, and that plugin, which sees the
// same paths as we do.
type store struct{ client *plugins.Client }

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
