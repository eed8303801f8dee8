package host

import (
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Decide returns the plan, or an error that says why setup is not possible. It changes
// nothing.
func Decide(f Facts, w Request) (Plan, error) {
	p := Plan{Steps: []Step{}, Remaining: []string{}}
	for _, part := range []func(Facts, Request) error{checkRequest, checkPlaces, p.planDatasets, p.planBoot, p.planSnapshotter, p.planDriver, p.planConfig, p.planRestart} {
		if err := part(f, w); err != nil {
			return Plan{}, err
		}
	}
	p.listRemaining(f, w)
	return p, nil
}

// checkRequest fails when setup would not work or would hide existing files.
func checkRequest(f Facts, w Request) error {
	if f.Occupied {
		return fault.New(fault.Exists, "dataset %s has content that is not a store of layers: name another", w.Layers)
	}
	if f.Config.UsernsRemap != "" && w.Door == Plugin {
		return fault.New(fault.Unsupported, "%s has \"userns-remap\", which does not work with a managed plugin: remove it, or use Docker 28 with the snapshotter", f.File.Path)
	}
	return checkOptions(w)
}

// checkOptions fails for options that nothing reads, and for one that names a dataset.
func checkOptions(w Request) error {
	if len(w.Options) > 0 && w.Door == Snapshotter {
		return fault.New(fault.Invalid, "--opt %s has no effect with the snapshotter, which does not read daemon.json: set it in /etc/overlayzfs/snapshotter.toml", w.Options[0])
	}
	for _, option := range w.Options {
		if optionKey(option) == datasetOption {
			return fault.New(fault.Invalid, "--opt %s names a second dataset for layers beside %s: choose the dataset with --dataset", option, w.Layers)
		}
	}
	return nil
}

// listRemaining lists what a person has to do after setup.
func (p *Plan) listRemaining(f Facts, w Request) {
	if w.Parent != "" && !w.hasDataRoot(f) && !f.NoDocker {
		p.addRemaining("Docker's data-root stays in %s, because that has content. To move the content to %s: stop dockerd, and run this command with --move-data-root.", w.Root, w.Parent)
	}
	p.listOldRoot(f, w)
	defer p.listRestart(w)
	if !p.driverReady && (f.Config.StorageDriver != w.Driver || f.NoDocker) {
		p.Pending = true
		p.listDriver(f, w)
	}
	if p.configText != "" {
		p.Pending = true
		p.Remaining = append(p.Remaining, p.configText)
	}
}

// listRestart lists what makes the changes take effect.
func (p *Plan) listRestart(w Request) {
	if p.bootText != "" {
		p.Remaining = append(p.Remaining, p.bootText)
	}
	if w.Services == nil || len(p.restarts) > 0 {
		p.Remaining = append(p.Remaining, p.restartCommand(w))
	} else if !p.Pending {
		p.Remaining = append(p.Remaining, "overlayzfs doctor")
	}
}
