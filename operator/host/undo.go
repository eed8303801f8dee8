package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dataroot"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Undo says how what setup has done is to be undone.
type Undo struct {
	Log      *setuplog.Log
	Services *services.Manager // nil where systemd does not run the host
	Engine   *Engine           // nil when dockerd does not answer
	// Layers destroys layers, too. Nothing destroys volumes or a data-root.
	Layers    bool
	NoRestart bool
	Config    string   // daemon.json
	Where     Location // of the plugin, if there is one
	// ContainerdRoot is containerd's root, and Driver the snapshotter's name there, and the storage
	// driver's. Loaded says that the containerd that runs has it.
	ContainerdRoot, Driver string
	Loaded                 bool
}

// undoing is the state of PlanUndo.
type undoing struct {
	Plan
	Undo
	z       *zfs.Handle
	records []setuplog.Record          // the newest first
	kept    map[setuplog.Record]bool   // what is not undone
	content map[string]string          // the digest of each file after the steps
	gone    map[string]bool            // datasets that a step destroys
	changed map[string]bool            // services whose files change
	first   map[string]int             // the first step that changes a file of a service
	begun   map[string]setuplog.Record // services of which an undo that was killed has changed files
	from    map[string]string          // the copy that a step makes a file again
	values  map[string]string          // of properties of datasets, after the steps
	waits   string                     // what the rest waits for: a service, or something else
}

// PlanUndo returns the steps that bring a host back to the state before setup, in an order in
// which dockerd can start after each. What was changed since, and what has content, stays; the
// log keeps it.
func PlanUndo(ctx context.Context, z *zfs.Handle, u Undo) (Plan, error) {
	records, err := u.Log.Read()
	if err == nil && len(records) == 0 {
		err = fault.NewWithRemedy(fault.NotFound, "there is no log of setup in %s: `overlayzfs setup --remove` takes overlayzfs from a host without one", u.Log.Path)
	}
	if err != nil {
		return Plan{}, err
	}
	slices.Reverse(records)
	p := undoing{
		Plan: Plan{Steps: []Step{}, Remaining: []string{}}, Undo: u, z: z, records: records,
		kept: map[setuplog.Record]bool{}, content: map[string]string{}, gone: map[string]bool{}, changed: map[string]bool{},
		first: map[string]int{}, begun: map[string]setuplog.Record{},
		from: map[string]string{}, values: map[string]string{},
	}
	for _, r := range records {
		if r.Kind == setuplog.Restart {
			p.begun[r.Name] = r
		}
	}
	for _, part := range []func(context.Context) error{
		p.undoDocker, p.undoPlugin, p.undoContainerd, p.undoSnapshotter, p.undoProperties, p.undoDatasets, p.undoDirs, p.undoMoves,
	} {
		if err := part(ctx); err != nil {
			return Plan{}, err
		}
		if p.waits != "" { // dockerd may still use what comes after
			p.keepRest()
			break
		}
	}
	p.keepRecords()
	return p.Plan, nil
}

// keepRest leaves what dockerd may use until it has another driver. The log keeps dockerd's own
// files until dockerd has read them.
func (p *undoing) keepRest() {
	for _, r := range p.records {
		ofDocker := r.Service == services.Docker || r.Kind == setuplog.Restart && r.Name == services.Docker
		p.kept[r] = p.kept[r] || !ofDocker || p.waits == services.Docker
	}
	p.addRemaining("Then run this command again: it undoes the rest.")
}

// each calls undo with the records of some kinds, the newest first.
func (p *undoing) each(undo func(r setuplog.Record) error, kinds ...setuplog.Kind) error {
	for _, r := range p.records {
		if slices.Contains(kinds, r.Kind) {
			if err := undo(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep leaves a change as it is, and says why.
func (p *undoing) keep(r setuplog.Record, format string, args ...any) {
	p.kept[r] = true
	p.addRemaining(format, args...)
}

// undoFiles plans to restore the files that services read.
func (p *undoing) undoFiles(names ...string) error {
	return p.each(func(r setuplog.Record) error {
		if !slices.Contains(names, r.Service) {
			return nil
		}
		return p.undoFile(r)
	}, setuplog.File)
}

// undoFile plans to restore a file, where it is as setup has left it.
func (p *undoing) undoFile(r setuplog.Record) error {
	now, known := p.content[r.Path]
	if !known {
		var err error
		if now, err = digestFile(r.Path); err != nil {
			return err
		}
	}
	p.content[r.Path] = now
	switch {
	case now == r.Before: // it was not written, or is restored
		if has, err := digestFile(r.Backup); r.Backup != "" && err == nil && has == r.Before && has != "" {
			p.addStep(func(context.Context, *zfs.Handle) error { return removeFile(r.Backup) }, "", "remove %s", r.Backup)
		}
		return nil
	case now != r.After:
		p.keep(r, "%s was changed after setup, and stays%s.", r.Path, backupText(r))
		return nil
	case r.Before == "":
		p.addStep(func(context.Context, *zfs.Handle) error {
			if err := requireDigest(r.Path, now); err != nil {
				return err
			}
			return removeFile(r.Path)
		}, "", "remove %s", r.Path)
	default:
		if has, err := digestFile(r.Backup); err != nil || has != r.Before {
			p.keep(r, "%s cannot be restored, and stays: its copy %s is missing or was changed.", r.Path, r.Backup)
			return err
		}
		p.addStep(func(context.Context, *zfs.Handle) error {
			if err := errors.Join(requireDigest(r.Path, now), requireDigest(r.Backup, r.Before)); err != nil {
				return err
			}
			return errors.Join(os.Rename(r.Backup, r.Path), atomicfile.SyncDir(filepath.Dir(r.Path)))
		}, "", "restore %s from %s", r.Path, r.Backup)
		p.from[r.Path] = r.Backup
	}
	if !p.changed[r.Service] {
		p.first[r.Service] = len(p.Steps) - 1
	}
	p.content[r.Path], p.changed[r.Service] = r.Before, true
	return nil
}

func backupText(r setuplog.Record) string {
	if r.Backup == "" {
		return ""
	}
	return "; " + r.Backup + " is that of before"
}

// digestFile returns the digest of a file's content, or "" when there is none.
func digestFile(path string) (string, error) {
	raw, err := configfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) || path == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return setuplog.Digest(raw), nil
}

// requireDigest fails unless a file is as the plan has found it.
func requireDigest(path, want string) error {
	now, err := digestFile(path)
	if err == nil && now != want {
		err = fault.NewWithRemedy(fault.Busy, "%s was changed meanwhile, and is left as it is now: run the command again", path)
	}
	return err
}

func removeFile(path string) error {
	return errors.Join(os.Remove(path), atomicfile.SyncDir(filepath.Dir(path)))
}

// undoPlugin plans to disable and remove the plugin. dockerd refuses while it uses it.
func (p *undoing) undoPlugin(context.Context) error {
	inPlace := false
	if p.Where.Plugin != nil {
		var err error
		if inPlace, err = p.Where.isInPlace(); err != nil {
			return err
		}
	}
	return p.each(func(r setuplog.Record) error {
		switch {
		case p.waits != "":
			return nil
		case p.Engine == nil:
			p.waits = "the plugin"
			p.addRemaining("systemctl start docker")
			return nil
		case r.Kind == setuplog.Enabling:
			p.addStep(func(ctx context.Context, _ *zfs.Handle) error { return ignoreMissing(p.disablePlugin(ctx, r.Name)) }, "", "disable plugin %s", r.Name)
		case inPlace && !p.Layers:
			p.keep(r, "Plugin %s stays: layers lie in its directory, and go with it. When images and containers may go, `overlayzfs setup --undo --layers` removes it.", r.Name)
			return nil
		default:
			p.addStep(func(ctx context.Context, _ *zfs.Handle) error {
				return ignoreMissing(p.Engine.Client.RemovePlugin(ctx, r.Name))
			}, "", "remove plugin %s", r.Name)
		}
		return nil
	}, setuplog.Plugin, setuplog.Enabling)
}

// ignoreMissing drops the error for what does not exist.
func ignoreMissing(err error) error {
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (p *undoing) disablePlugin(ctx context.Context, name string) error {
	has, err := p.Engine.Client.Plugin(ctx, name)
	if err != nil || !has.Enabled {
		return err
	}
	return p.Engine.Client.DisablePlugin(ctx, name, false)
}

// warnContainers says how many containers lose their snapshotter.
func (p *undoing) warnContainers() {
	n, err := countContainers(p.ContainerdRoot, p.Driver)
	switch {
	case err != nil:
		p.addRemaining("Containers of containerd on %s start again only after `overlayzfs setup`; whether there are some is not known: %v.", p.Driver, err)
	case n > 0:
		p.addRemaining("%d containers of containerd are on %s, and start again only after `overlayzfs setup`.", n, p.Driver)
	}
}

// countContainers returns how many containers of containerd use a snapshotter.
func countContainers(dir, snapshotter string) (int, error) {
	root, err := containerdstore.Open(dir)
	if err != nil {
		return 0, ignoreMissing(err)
	}
	summary, err := root.Summarize()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return summary.Containers[snapshotter], errors.Join(err, root.Close())
}

// undoSnapshotter plans to give the snapshotter's service the files, and then the state, of before.
func (p *undoing) undoSnapshotter(ctx context.Context) error {
	if err := p.undoFiles(services.Snapshotter); err != nil {
		return err
	}
	reverted, oldest := false, map[string]setuplog.Record{} // a later setup may repeat one that failed
	for _, r := range p.records {
		if r.Kind == setuplog.Unit {
			oldest[r.Name] = r
		}
	}
	err := p.each(func(r setuplog.Record) error {
		if p.Services == nil {
			p.keep(r, "%s is not stopped: there is no systemd to ask.", r.Name)
			return nil
		}
		before := services.State{Enabled: oldest[r.Name].WasEnabled, Active: oldest[r.Name].WasActive}
		state, err := p.Services.State(ctx, r.Name)
		if err != nil || reverted || !state.Loaded || state.Enabled == before.Enabled && state.Active == before.Active {
			return err
		}
		p.addStep(func(ctx context.Context, _ *zfs.Handle) error {
			return errors.Join(p.Services.Reload(ctx), p.Services.Revert(ctx, r.Name, before))
		}, "", "%s %s, as it was", describeRevert(before), r.Name)
		reverted = true
		return nil
	}, setuplog.Unit)
	if err != nil || reverted {
		return err
	}
	return p.restart(ctx, services.Snapshotter, "it reads the configuration of before", false)
}

func describeRevert(before services.State) string {
	switch {
	case before.Enabled:
		return "stop"
	case before.Active:
		return "disable and restart"
	}
	return "disable and stop"
}

// undoDirs plans to remove the directories that setup has made, where nothing else is in them.
func (p *undoing) undoDirs(context.Context) error {
	keptDataset := false
	for r := range p.kept {
		keptDataset = keptDataset || r.Kind == setuplog.Dataset
	}
	return p.each(func(r setuplog.Record) error {
		if _, err := os.Lstat(r.Path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if keptDataset { // it may be mounted there
			p.kept[r] = true
		}
		p.addStep(func(context.Context, *zfs.Handle) error {
			err := unix.Rmdir(r.Path) // os.Remove would remove a file or a link that somebody has put there
			if slices.Contains([]error{unix.ENOENT, unix.ENOTEMPTY, unix.EBUSY, unix.ENOTDIR}, err) {
				return nil
			}
			return err
		}, "", "remove the directory %s, if it is empty", r.Path)
		return nil
	}, setuplog.Dir)
}

// undoMoves says how a data-root that was moved goes back, which no step does: it was written to
// since.
func (p *undoing) undoMoves(context.Context) error {
	return p.each(func(r setuplog.Record) error {
		p.keep(r, "The data-root stays on %s. To go back to its content of before, with dockerd stopped: umount %s && zfs set mountpoint=none %s && rmdir %s && mv %s %s",
			r.Name, r.Path, r.Name, r.Path, r.Path+dataroot.Suffix, r.Path)
		return nil
	}, setuplog.Move)
}

// keepRecords plans to make what is not undone all that the log has.
func (p *undoing) keepRecords() {
	var kept []setuplog.Record
	for _, r := range slices.Backward(p.records) {
		if p.kept[r] {
			kept = append(kept, r)
		}
	}
	if len(kept) == len(p.records) {
		return
	}
	text := "remove " + p.Log.Path
	if len(kept) > 0 {
		text = "keep in " + p.Log.Path + " what stays"
	}
	p.addStep(func(context.Context, *zfs.Handle) error { return p.Log.Save(kept) }, "", "%s", text)
}
