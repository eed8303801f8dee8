package contenders

import (
	"errors"

	"github.com/docker/docker/daemon/graphdriver"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
)

// startPlugin starts the plugin's process and connects to it as dockerd does.
func (c *Contender) startPlugin() (err error) {
	if c.plugin, err = pluginproc.Start(); err != nil {
		return err
	}
	c.close = func() error { return errors.Join(c.plugin.Stop(), c.plugin.Remove()) }
	return c.dialPlugin()
}

// StopPlugin ends the plugin's process until StartPlugin.
func (c *Contender) StopPlugin() error { return c.plugin.Stop() }

// StartPlugin starts the plugin's process again, and returns when it has answered Init,
// as at a start of dockerd.
func (c *Contender) StartPlugin() error {
	if err := c.plugin.Again(); err != nil {
		return err
	}
	return c.dialPlugin()
}

func (c *Contender) dialPlugin() (err error) {
	c.Driver, err = mobyproxy.Open(c.plugin.Socket, graphdriver.Options{Root: c.Root})
	return err
}
