package host

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// undoDocker plans to restore what dockerd reads, and to restart it on its former driver. While
// daemon.json names ours, nothing is undone: dockerd would not start without it.
func (p *undoing) undoDocker(ctx context.Context) error {
	if err := p.undoFiles(services.Docker); err != nil {
		return err
	}
	file, driver, err := p.readDriver()
	if err != nil {
		return err
	}
	names := p.isDriver(driver)
	if names && !p.isAsBefore(file) {
		p.drop(0, services.Docker)
		p.addRemaining("%s names the storage driver %s and cannot be restored, so nothing is undone: dockerd would not start. Take \"storage-driver\" "+
			"and its \"storage-opts\" out of it, with what else setup has added. Then: systemctl restart %s", file, p.Driver, services.Docker)
		return nil
	}
	runs, err := p.runsDriver(ctx)
	if err != nil {
		return err
	}
	runs = runs && !names
	if e := p.Engine; runs && e != nil && e.Info.LiveRestore && e.Info.Running > 0 {
		return liveRestoreError(e.Info.Running)
	}
	return p.restart(ctx, services.Docker, "containers stop", runs)
}

// drop takes the steps from one on back, which are all of a service, and ends the undo there.
func (p *undoing) drop(from int, unit string) {
	p.Steps, p.changed[unit], p.waits = p.Steps[:from], false, unit
	for _, r := range p.records {
		p.kept[r] = p.kept[r] || r.Service == unit || r.Kind == setuplog.Restart && r.Name == unit
	}
}

// readDriver returns the storage driver that daemon.json will name.
func (p *undoing) readDriver() (file, driver string, err error) {
	if p.Config == "" {
		return "", "", nil
	}
	f, err := dockerconf.Load(p.Config)
	if now, known := p.content[f.Path]; err != nil || known && now == "" {
		return f.Path, "", err
	}
	c, err := dockerconf.Read(cmp.Or(p.from[f.Path], f.Path))
	return f.Path, c.StorageDriver, err
}

// isAsBefore reports whether daemon.json will be as before setup.
func (p *undoing) isAsBefore(file string) bool {
	now, known := p.content[file]
	if !known { // somebody else has written it, maybe because setup could not
		return !slices.ContainsFunc(p.records, isNeeded)
	}
	oldest := ""
	for _, r := range p.records {
		if r.Kind == setuplog.File && r.Path == file {
			oldest = r.Before
		}
	}
	return now == oldest
}

// isNeeded reports whether a dockerd on the driver needs what a record is of.
func isNeeded(r setuplog.Record) bool {
	switch r.Kind {
	case setuplog.Plugin, setuplog.Enabling, setuplog.Unit:
		return true
	case setuplog.File:
		return r.Service != services.Docker
	}
	return false
}

func (p *undoing) isDriver(name string) bool {
	return name != "" && (dockerstore.Plugin{Name: p.Driver + ":latest"}).HasName(name)
}

// runsDriver reports whether dockerd, as far as is known, runs on the driver, also where its files
// do not name it any more: it was not restarted since an undo has restored them.
func (p *undoing) runsDriver(ctx context.Context) (bool, error) {
	logged := slices.ContainsFunc(p.records, func(r setuplog.Record) bool {
		return r.Kind == setuplog.File && r.Service == services.Docker
	})
	switch {
	case !logged:
		return false, nil
	case p.Engine != nil:
		return p.isDriver(p.Engine.Info.Driver), nil
	case p.Services == nil:
		return false, nil
	}
	state, err := p.Services.State(ctx, services.Docker)
	return state.Active, err
}

// liveRestoreError is why dockerd is not restarted on another driver.
func liveRestoreError(running int) error {
	return fault.NewWithRemedy(fault.Busy, "dockerd has live-restore, and %d containers would run on while it starts on another storage driver, which does not know them: "+
		"stop them first with `docker stop $(docker ps -q)`", running)
}

// undoContainerd plans to restore what containerd reads. While a file that stays names the
// snapshotter, nothing of it is undone.
func (p *undoing) undoContainerd(ctx context.Context) error {
	from := len(p.Steps)
	if err := p.undoFiles(services.Containerd); err != nil {
		return err
	}
	logged := false
	for _, r := range p.records {
		if r.Kind != setuplog.File || r.Service != services.Containerd {
			continue
		}
		logged = true
		if names, err := p.namesSnapshotter(r); err != nil {
			return err
		} else if names {
			p.drop(from, services.Containerd)
			p.addRemaining("containerd still has the snapshotter %s by %s, so it is not stopped. Take it out of that file; then: systemctl restart %s", p.Driver, r.Path, services.Containerd)
			return nil
		}
	}
	if p.changed[services.Containerd] {
		p.warnContainers()
	}
	return p.restart(ctx, services.Containerd, "containers run on", logged && p.Loaded)
}

// namesSnapshotter reports whether a file that stays names the snapshotter.
func (p *undoing) namesSnapshotter(r setuplog.Record) (bool, error) {
	if !p.kept[r] || p.content[r.Path] == "" {
		return false, nil
	}
	c, err := containerdconf.ReadWithout(r.Path, p.removedFile(services.Containerd))
	return c.HasSnapshotter(p.Driver), err
}

// removedFile returns the file of a service that a step removes, or "".
func (p *undoing) removedFile(unit string) string {
	for _, r := range p.records {
		if r.Kind == setuplog.File && r.Service == unit && p.content[r.Path] == "" && !p.kept[r] {
			return r.Path
		}
	}
	return ""
}

// restart plans to restart a service that runs, when its files change, when an undo that was killed
// has changed them, and when it runs with those of before. Where that is left to a person, the
// rest waits for it.
func (p *undoing) restart(ctx context.Context, unit, what string, runsOld bool) error {
	begun, killed := p.begun[unit]
	if !p.changed[unit] && !killed && !runsOld {
		return nil
	}
	if p.Services == nil || p.NoRestart && unit != services.Snapshotter {
		if p.changed[unit] || runsOld {
			p.waits = unit
			p.addRemaining("systemctl daemon-reload; systemctl restart %s", unit)
		}
		return nil
	}
	state, err := p.Services.State(ctx, unit)
	if err != nil {
		return err
	}
	active := state.Active || begun.WasActive
	if step, there := p.first[unit]; there {
		p.Steps[step].records = append(p.Steps[step].records, setuplog.Record{Kind: setuplog.Restart, Name: unit, WasActive: active})
	}
	if !active {
		p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return p.Services.Reload(ctx) }, "", "reload systemd's units")
		return nil
	}
	p.addStep(func(ctx context.Context, _ *zfs.Handle) error {
		return errors.Join(p.Services.Reload(ctx), p.Services.Restart(ctx, unit))
	}, "", "restart %s: %s", unit, what)
	return nil
}
