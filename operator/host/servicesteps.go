package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/containerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/operator/tomledit"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// planSnapshotter plans the snapshotter's configuration, its service, and containerd's
// configuration. daemon.json names the snapshotter only after containerd has shown that it works.
func (p *Plan) planSnapshotter(f Facts, w Request) error {
	s := f.Snapshotter
	if s == nil || w.Services == nil {
		return nil
	}
	if has := s.settings.Store.Dataset; has != "" && has != w.Layers {
		return fault.New(fault.Exists, "%s names the dataset %s, and its images would not be seen on %s: pass --dataset %s, or empty the setting", s.Config.Path, has, w.Layers, has)
	}
	if !p.planStoreConfig(s, w) { // without it the snapshotter would begin a store elsewhere
		p.Pending = true
		return nil
	}
	p.planSnapshotterService(f, w)
	added, err := p.planContainerdConfig(s, w)
	if err != nil {
		return err
	}
	if p.driverReady = added; !added {
		p.Pending = true
		return nil
	}
	changed := p.changes(services.Containerd)
	if !changed && s.Loaded && f.Units[services.Containerd].Active {
		return nil
	}
	if w.NoRestart {
		p.restarts = append(p.restarts, services.Containerd)
		return nil
	}
	p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return reloadAndRestart(ctx, w, services.Containerd) },
		"", "restart %s: containers run on", services.Containerd)
	p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return checkSnapshotter(ctx, s.Address, w.Driver) },
		"", "check that containerd makes a snapshot by %s", w.Driver)
	return nil
}

// planStoreConfig plans to name the dataset in snapshotter.toml. It reports whether that will be
// named.
func (p *Plan) planStoreConfig(s *SnapshotterFacts, w Request) bool {
	if s.settings.Store.Dataset == w.Layers {
		return true
	}
	edited, err := tomledit.SetString(s.Config.Raw, "store", "dataset", w.Layers)
	return p.planFile(s, s.Config, edited, err, services.Snapshotter, fmt.Sprintf("dataset = %q under [store]", w.Layers))
}

// planSnapshotterService plans to enable and start the snapshotter.
func (p *Plan) planSnapshotterService(f Facts, w Request) {
	u := f.Units[services.Snapshotter]
	switch {
	case !u.Enabled || !u.Active:
		p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return w.Services.Enable(ctx, services.Snapshotter) },
			"systemctl disable --now "+services.Snapshotter, "enable and start %s", services.Snapshotter)
		p.addRecords(append(newDirs(f.Snapshotter.wanted(w).Root), setuplog.Record{Kind: setuplog.Unit, Name: services.Snapshotter, WasEnabled: u.Enabled, WasActive: u.Active})...)
	case p.changes(services.Snapshotter):
		p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return reloadAndRestart(ctx, w, services.Snapshotter) },
			"", "restart %s", services.Snapshotter)
	}
}

// planContainerdConfig plans the file that adds the snapshotter to containerd's configuration. It
// reports whether that will have the snapshotter.
func (p *Plan) planContainerdConfig(s *SnapshotterFacts, w Request) (bool, error) {
	wanted := s.wanted(w)
	if s.Without.Lacks(wanted) == "" {
		return true, nil // somebody has written it
	}
	text, err := s.Without.DropIn(wanted)
	if err != nil {
		return false, err
	}
	added := true
	if !bytes.Equal(text, s.DropIn.Raw) {
		what := "snapshotter " + w.Driver
		if w.Pods {
			what += ", also for Kubernetes's pods"
		}
		added = p.planFile(s, s.DropIn, text, nil, services.Containerd, what)
	}
	if s.Without.WouldImport(s.DropIn.Path) {
		return added, nil
	}
	pattern := filepath.Join(filepath.Dir(w.Containerd), dropInPattern)
	raw := s.Main.Raw
	if !s.Main.Exists {
		raw = []byte(dropInHead + "version = 2\n")
	}
	edited, err := tomledit.AddItem(raw, "imports", pattern)
	return p.planFile(s, s.Main, edited, err, services.Containerd, fmt.Sprintf("imports %q", pattern)) && added, nil
}

// planFile plans to write a file, or lists what it has to say where it cannot be written. It
// reports whether it will be written.
func (p *Plan) planFile(s *SnapshotterFacts, file configfile.File, content []byte, err error, service, what string) bool {
	why := s.ReadOnly[file.Path]
	if err != nil {
		why = err.Error()
	}
	if why == "" {
		p.replaceFile(file, content, service, what)
		return true
	}
	text := what
	if err == nil && !file.Exists {
		text = indentText(content)
	}
	p.addRemaining("%s cannot be written (%s). Write this there by your system's own means, and run this command again:\n    %s", file.Path, why, text)
	return false
}

// changes reports whether a step writes a file that a service reads.
func (p *Plan) changes(service string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool {
		return slices.ContainsFunc(s.records, func(r setuplog.Record) bool { return r.Service == service })
	})
}

// reloadAndRestart restarts a unit. A setup that was killed may have written a drop-in that systemd
// has not read.
func reloadAndRestart(ctx context.Context, w Request, unit string) error {
	if err := w.Services.Reload(ctx); err != nil {
		return err
	}
	return w.Services.Restart(ctx, unit)
}

// checkSnapshotter has containerd make a snapshot.
func checkSnapshotter(ctx context.Context, address, name string) error {
	client, err := containerd.Connect(address)
	if err != nil {
		return err
	}
	return errors.Join(client.CheckSnapshotter(ctx, name), client.Close())
}

// planRestart plans to restart dockerd where it does not use the driver yet, and to prove that
// it does then.
func (p *Plan) planRestart(f Facts, w Request) error {
	if w.Services == nil || f.NoDocker || !p.driverReady || p.Pending || p.configText != "" {
		return nil
	}
	uses := f.Engine != nil && (dockerstore.Plugin{Name: w.Driver + ":latest"}).HasName(f.Engine.Info.Driver)
	if uses && !p.changes(services.Docker) {
		return nil
	}
	running := 0
	if f.Engine != nil {
		running = f.Engine.Info.Running
	}
	isOrphaning := !uses && running > 0 && f.Engine.Info.LiveRestore
	switch {
	case !f.Units[services.Docker].Loaded:
		p.addRemaining("Restart dockerd, which is not %s on this host, without containers that run on.", services.Docker)
		return nil
	case w.NoRestart && isOrphaning:
		p.addRemaining("Stop all containers before dockerd restarts: it has live-restore, and does not know them on another storage driver.")
		fallthrough
	case w.NoRestart:
		p.restarts = append(p.restarts, services.Docker)
		return nil
	case isOrphaning:
		return liveRestoreError(running)
	}
	what := ""
	if running > 0 && !f.Engine.Info.LiveRestore {
		what = fmt.Sprintf(": containers stop (%d run)", running)
	}
	p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return reloadAndRestart(ctx, w, services.Docker) },
		"", "restart %s%s", services.Docker, what)
	p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return proveDocker(ctx, w) },
		"", "run a container on %s, of an image without a registry that is removed again", w.Driver)
	p.proves = true
	return nil
}

// proveDocker fails unless dockerd uses the driver and runs a container.
func proveDocker(ctx context.Context, w Request) error {
	client, err := dockerd.Connect(w.Host)
	if err != nil {
		return err
	}
	info, err := client.AwaitInfo(ctx)
	if err != nil {
		return err
	}
	if !(dockerstore.Plugin{Name: w.Driver + ":latest"}).HasName(info.Driver) {
		return fault.New(fault.Unsupported, "dockerd uses the storage driver %s: %s names %s, look for another configuration or for flags of dockerd", info.Driver, w.Config, w.Driver)
	}
	return client.RunProgram(ctx, w.Program, "--version")
}

// restartCommand returns what makes the changes take effect, where setup does not.
func (p *Plan) restartCommand(w Request) string {
	if w.Services != nil {
		return "systemctl restart " + strings.Join(p.restarts, " ") + "; overlayzfs doctor"
	}
	command := "systemctl restart docker; overlayzfs doctor"
	if w.Door == Snapshotter {
		command = "systemctl restart containerd docker"
	}
	if p.reload {
		command = "systemctl daemon-reload; " + command
	}
	return command
}
