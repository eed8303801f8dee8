package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/pluginimage"
)

// Plan is an upgrade that was decided.
type Plan struct {
	Plugin string   `json:"plugin"`
	From   string   `json:"from"` // versions
	To     string   `json:"to"`
	Steps  []string `json:"steps"`

	client  *dockerd.Client
	dir     string
	disable bool // the plugin is enabled
	replace bool // the program differs
}

// Prepare returns the plan to upgrade a plugin to what a directory has. It changes nothing,
// and refuses while containers run on the plugin, whose layers would be unmounted. isDriver
// says that daemon.json names the plugin as the storage driver.
func Prepare(ctx context.Context, client *dockerd.Client, name, dir string, isDriver bool) (Plan, error) {
	description, err := pluginimage.Describe(dir)
	if err != nil {
		return Plan{}, fmt.Errorf("read the plugin to upgrade to: %w", err)
	}
	plugin, err := client.Plugin(ctx, name)
	if err != nil {
		return Plan{}, err
	}
	if plugin, err = Await(ctx, client, plugin); err != nil {
		return Plan{}, err
	}
	p := Plan{
		Plugin: plugin.Name, From: version(plugin.Description), To: version(description), Steps: []string{}, client: client, dir: dir,
		replace: plugin.Description != description,
	}
	p.disable = plugin.Enabled && p.replace
	if p.disable && isDriver {
		err = requireNoContainers(ctx, client)
	}
	p.list(plugin.Enabled)
	return p, err
}

func requireNoContainers(ctx context.Context, client *dockerd.Client) error {
	running, err := client.CountRunning(ctx)
	if err == nil && running > 0 {
		err = fault.NewWithRemedy(fault.Busy, "%d containers run, and an upgrade unmounts their layers: stop them first (docker stop $(docker ps -q))", running)
	}
	return err
}

func version(description string) string {
	return cmp.Or(dockerstore.DescribedVersion(description), "an unknown version")
}

func (p *Plan) list(enabled bool) {
	if p.disable {
		p.Steps = append(p.Steps, "disable plugin "+p.Plugin)
	}
	if p.replace {
		p.Steps = append(p.Steps, fmt.Sprintf("replace its program, %s, by %s from %s; settings and layers stay", p.From, p.To, p.dir))
	}
	if p.replace || !enabled {
		p.Steps = append(p.Steps, "enable plugin "+p.Plugin)
	}
}

// ErrDisabled is wrapped by the error of an upgrade that left the plugin disabled.
var ErrDisabled = errors.New("the plugin is disabled, and dockerd would not start with it: run the command again")

// Run does the steps. After a failure it enables what there is, the old program or the new
// one.
func (p Plan) Run(ctx context.Context) error {
	if len(p.Steps) == 0 {
		return nil
	}
	if p.disable {
		if err := p.disablePlugin(ctx); err != nil {
			return fmt.Errorf("disable plugin %s: %w", p.Plugin, err)
		}
	}
	var err error
	if p.replace {
		if err = p.client.UpgradePlugin(ctx, p.Plugin, p.dir); err != nil {
			err = fmt.Errorf("replace the program of plugin %s: %w", p.Plugin, err)
		}
	}
	if enableErr := p.client.EnablePlugin(context.WithoutCancel(ctx), p.Plugin); enableErr != nil {
		return errors.Join(err, fmt.Errorf("enable plugin %s: %w: %w", p.Plugin, enableErr, ErrDisabled))
	}
	return err
}

// disablePlugin disables the plugin. dockerd refuses that for its storage driver unless it is
// forced, which takes the layers away from running containers.
func (p Plan) disablePlugin(ctx context.Context) error {
	refused := p.client.DisablePlugin(ctx, p.Plugin, false)
	if refused == nil || p.isDisabled(ctx) {
		return nil
	}
	if err := requireNoContainers(ctx, p.client); err != nil {
		return errors.Join(refused, err)
	}
	if err := p.client.DisablePlugin(ctx, p.Plugin, true); err != nil && !p.isDisabled(ctx) {
		return err
	}
	return nil
}

// isDisabled reports whether the plugin is disabled by now: dockerd may have ended what a
// killed command had begun.
func (p Plan) isDisabled(ctx context.Context) bool {
	plugin, err := p.client.Plugin(ctx, p.Plugin)
	return err == nil && !plugin.Enabled
}
