package host

import (
	"context"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/pluginimage"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/operator/upgrade"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Engine is the dockerd that runs on the data-root.
type Engine struct {
	Client  *dockerd.Client
	Version string
	Info    dockerd.Info
}

// FindEngine returns the dockerd that listens on host, or nil when it does not answer or has
// another data-root than root, if that is not empty.
func FindEngine(ctx context.Context, host, root string) *Engine {
	client, err := dockerd.Connect(host)
	if err != nil {
		return nil
	}
	info, err := client.AwaitInfo(ctx)
	if err != nil || root != "" && resolve(info.Root) != resolve(root) {
		return nil
	}
	return &Engine{client, info.Version, info}
}

// ResolveRoot returns the data-root without symbolic links: datasets are mounted on the
// directory itself, and systemd is told of that.
func ResolveRoot(root string) string { return resolve(root) }

// resolve returns a path without symbolic links, as far as it exists.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// planDriver plans to create and enable the plugin. daemon.json names the driver only when
// it is there: with one that is missing dockerd does not start, and a host that reboots
// between two steps would have no Docker.
func (p *Plan) planDriver(f Facts, w Request) error {
	switch {
	case w.Door == Snapshotter:
		p.driverReady = p.driverReady || f.SnapshotterThere && f.Snapshotter == nil
		return nil
	case f.Engine != nil && !doctor.HasGraphdriverPlugins(f.Engine.Version):
		return fault.New(fault.Unsupported, "dockerd %s has no graphdriver plugins: use --way snapshotter", f.Engine.Version)
	case f.Plugin != nil && f.Plugin.Enabled:
		p.driverReady = true
		return nil
	case f.Engine == nil || f.Plugin == nil && w.PluginDir == "":
		return nil
	}
	if f.Plugin == nil {
		p.addStep(func(ctx context.Context, _ *zfs.Handle) error {
			return createPlugin(ctx, f.Engine.Client, w.Driver, w.PluginDir)
		}, "docker plugin rm "+w.Driver, "create plugin %s from %s", w.Driver, w.PluginDir)
		p.addRecords(setuplog.Record{Kind: setuplog.Plugin, Name: w.Driver})
	}
	p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return enablePlugin(ctx, f.Engine.Client, w.Driver) },
		"docker plugin disable "+w.Driver, "enable plugin %s", w.Driver)
	p.addRecords(setuplog.Record{Kind: setuplog.Enabling, Name: w.Driver})
	p.driverReady = true
	return nil
}

// createPlugin creates the plugin of a directory. dockerd may be doing it for a setup that was
// killed.
func createPlugin(ctx context.Context, client *dockerd.Client, name, dir string) error {
	err := client.CreatePlugin(ctx, name, dir)
	if err == nil {
		return nil
	}
	wanted, readErr := pluginimage.Describe(dir)
	if there, lookErr := client.Plugin(ctx, name); readErr == nil && lookErr == nil && there.Description == wanted {
		return nil
	}
	return err
}

// enablePlugin enables the plugin. dockerd may be doing it for a setup that was killed.
func enablePlugin(ctx context.Context, client *dockerd.Client, name string) error {
	there, err := client.Plugin(ctx, name)
	if err == nil {
		there, err = upgrade.Await(ctx, client, there)
	}
	if err != nil || there.Enabled {
		return err
	}
	return client.EnablePlugin(ctx, name)
}

// listDriver lists what has to be done before daemon.json can name the driver.
func (p *Plan) listDriver(f Facts, w Request) {
	const again = "; then run this command again, which makes it the storage driver"
	switch dir := w.PluginDir; {
	case w.Door == Snapshotter && f.Snapshotter != nil: // it is said what is left
	case w.Door == Snapshotter:
		p.addRemaining("Install the snapshotter with dataset = %q in /etc/overlayzfs/snapshotter.toml, and name it in containerd's configuration: docs/containerd.md%s.", w.Layers, again)
	case f.Plugin != nil:
		p.addRemaining("Enable the plugin: overlayzfs plugin enable, with dockerd stopped%s.", again)
	case f.Engine == nil && dir != "":
		p.addRemaining("Start dockerd with its present storage driver%s: it creates the plugin from %s.", again, dir)
	default:
		p.addRemaining("Create and enable the plugin: make plugin; docker plugin create %s build/plugin; docker plugin enable %s%s.", w.Driver, w.Driver, again)
	}
}
