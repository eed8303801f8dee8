package stable

import (
	"errors"
	"fmt"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/pkg/plugingetter"
	"github.com/docker/docker/pkg/plugins"

	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
)

// pluginName is what the daemon calls the plugin.
const pluginName = "overlayzfs"

// startPlugin starts the plugin's process and reaches it as dockerd does.
func (c *Contender) startPlugin() (err error) {
	if c.plugin, err = pluginproc.Start(); err != nil {
		return err
	}
	c.close = func() error { return errors.Join(c.plugin.Stop(), c.plugin.Remove()) }
	return c.dial()
}

// StopPlugin ends the plugin's process, until StartAgain.
func (c *Contender) StopPlugin() error { return c.plugin.Stop() }

// StartAgain starts the process anew and returns when it has answered Init, as
// at a start of dockerd.
func (c *Contender) StartAgain() error {
	if err := c.plugin.Again(); err != nil {
		return err
	}
	return c.dial()
}

func (c *Contender) dial() error {
	client, err := plugins.NewClient("unix://"+c.plugin.Socket, nil)
	if err != nil {
		return err
	}
	c.Driver, err = graphdriver.GetDriver(pluginName, getter{client}, graphdriver.Options{Root: c.Root, ExperimentalEnabled: true})
	return err
}

// getter is a plugin store that holds one plugin, which sees the same paths as
// we do.
type getter struct{ client *plugins.Client }

func (g getter) Name() string               { return pluginName }
func (g getter) ScopedPath(s string) string { return s }
func (g getter) IsV1() bool                 { return false }
func (g getter) Client() *plugins.Client    { return g.client }

func (g getter) Get(name, _ string, _ int) (plugingetter.CompatPlugin, error) {
	if name != pluginName {
		return nil, fmt.Errorf("no plugin %q", name)
	}
	return g, nil
}

func (getter) GetAllByCap(string) ([]plugingetter.CompatPlugin, error)      { return nil, nil }
func (getter) GetAllManagedPluginsByCap(string) []plugingetter.CompatPlugin { return nil }
func (getter) Handle(string, func(string, *plugins.Client))                 {}
