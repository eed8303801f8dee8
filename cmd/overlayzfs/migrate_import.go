package main

import (
	"cmp"
	"context"
	"errors"
	"net"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/operator/limit"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/quota"
)

// toSnapshotter is the value of --to for containerd's image store.
const toSnapshotter = "snapshotter"

// defaultNamespace is Docker's name space in containerd.
const defaultNamespace = "moby"

// checkTo refuses a --to that its action has not, and flags that mean nothing on the way to
// the snapshotter.
func (f *migrateFlags) checkTo() error {
	switch {
	case f.to == toSnapshotter && (f.undo || f.finish):
		return usagef("--to cannot be combined with --undo or --finish: the migration that was begun knows its target; leave --to out")
	case f.to == toSnapshotter && f.back:
		return usagef("--back migrates from the plugin; leave it out to migrate to the snapshotter")
	case f.to == toSnapshotter && f.reclaim:
		return usagef("--reclaim cannot be combined with --to snapshotter: the old layers stay until --finish")
	case f.to == toSnapshotter && f.inPlace:
		return usagef("--in-place is about the plugin's directory; leave it out")
	case f.to != "" && f.to != toSnapshotter && !f.back:
		return usagef("--to %s means nothing without --back: --to is the driver to migrate back to, --from the one to migrate from", f.to)
	}
	return nil
}

// dockerRoot returns daemon.json, and Docker's data-root.
func (f *migrateFlags) dockerRoot() (dockerconf.Config, string, error) {
	config, err := dockerconf.Read(cmp.Or(f.wanted.Config, f.config))
	return config, cmp.Or(f.wanted.Root, config.DataRoot), err
}

// isImport reports whether the command is about the way to containerd's image store: the flag
// says so, or for an undo and a finish the migration that was begun.
func (f *migrateFlags) isImport() (bool, error) {
	if f.action() == migrate.ActionMigrate {
		return f.to == toSnapshotter, nil
	}
	_, root, err := f.dockerRoot()
	if err != nil {
		return false, nil //nolint:nilerr // locate says what is wrong with it
	}
	job, err := migrate.FindJob(root)
	return job != nil && job.Method == migrate.Import, err
}

// runImport is run on the way to containerd's image store.
func (f *migrateFlags) runImport(ctx context.Context, c console) error {
	config, root, err := f.dockerRoot()
	if err != nil {
		return err
	}
	f.wanted.Config = cmp.Or(f.wanted.Config, f.config)
	pluginDataset := f.dataset
	f.dataset = ""
	target := imagestore.Target{
		Address: cmp.Or(config.Containerd, containerd.DefaultAddress), Namespace: cmp.Or(config.ContainerdNamespace, defaultNamespace),
		Snapshotter: cmp.Or(f.wanted.Driver, host.DefaultDriver),
	}
	request := f.request(host.Location{Root: root, Driver: target.Snapshotter, Config: f.wanted.Config, ZFSDataset: host.ZFSDataset(config)})
	request.ImageStore, request.To, request.AskLimits = &target, "", func() error { return f.askLimits(ctx) }
	request.FindPlugin = func(driver string) (migrate.PluginStore, error) { return f.findPlugin(driver, pluginDataset) }
	plan, err := migrate.MakePlan(request)
	if err != nil {
		return err
	}
	if err := f.show(c, plan); err != nil || f.dryRun {
		return err
	}
	return f.act(ctx, c, plan, f.importTools(plan))
}

// importTools returns what a migration to the image store needs. The snapshotter runs; the
// plugin's store, if the layers come from there, must not be used.
func (f *migrateFlags) importTools(plan *migrate.Plan) migrate.Tools {
	tools := migrate.Tools{
		Unused:   func() error { return nil },
		Token:    func() (string, error) { return "", nil },
		SetLimit: f.setLimit,
	}
	if store, ok := plan.Job.SourceStore(plan.Root); ok {
		where := host.Location{Root: plan.Root, Driver: plan.Job.From, Dataset: store.Dataset, Home: store.Home}
		tools.Unused = func() error { return checkUnused(where) }
		tools.Token = func() (string, error) { return readToken(where) }
	}
	return tools
}

// findPlugin finds the plugin's store, which a dataset can name.
func (f *migrateFlags) findPlugin(driver, dataset string) (migrate.PluginStore, error) {
	if err := (&storeFlags{dataset: dataset}).checkDataset(); err != nil {
		return migrate.PluginStore{}, err
	}
	wanted := f.wanted
	wanted.Driver, wanted.Dataset = driver, dataset
	where, err := host.FindStore(wanted)
	if errors.Is(err, fault.NotFound) {
		err = usagef("the layers of the plugin %s were not found: %w", driver, err)
	}
	return migrate.PluginStore{Dataset: where.Dataset, Home: where.Home, Options: where.Options}, err
}

// askLimits fails when the snapshotter does not listen where its configuration says.
func (f *migrateFlags) askLimits(ctx context.Context) error {
	socket, err := host.SnapshotterSocket(f.snapshotter)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fault.NewWithRemedy(fault.NotFound, "it does not answer on %s, which %s names: %w; start it", socket, f.snapshotter, err)
	}
	return conn.Close()
}

// setLimit has the snapshotter set the limit that a container has in Docker's records.
func (f *migrateFlags) setLimit(ctx context.Context, container string, options map[string]string) error {
	socket, err := host.SnapshotterSocket(f.snapshotter)
	if err != nil {
		return err
	}
	var change limit.Change
	if size, ok := options["size"]; ok {
		bytes, err := quota.ParseBytes("size", size)
		if err != nil {
			return err
		}
		change.Bytes = &bytes
	}
	if inodes, ok := options["inodes"]; ok {
		count, err := quota.ParseInodes("inodes", inodes)
		if err != nil {
			return err
		}
		change.Inodes = &count
	}
	if change.Bytes == nil && change.Inodes == nil {
		return nil
	}
	_, err = limit.OnSnapshotter(ctx, socket, limit.Report{Container: container, Layer: container, Change: change})
	return err
}
