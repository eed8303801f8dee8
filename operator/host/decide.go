package host

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Decide makes the plan. An error says why there is none; nothing was changed.
func Decide(f Facts, w Request) (Plan, error) {
	p := Plan{Steps: []Step{}, Remaining: []string{}}
	for _, part := range []func(Facts, Request) error{checkRequest, p.planDatasets, p.planConfig} {
		if err := part(f, w); err != nil {
			return Plan{}, err
		}
	}
	p.listRemaining(f, w)
	return p, nil
}

// checkRequest refuses what would not work or would hide something.
func checkRequest(f Facts, w Request) error {
	if f.Occupied {
		return fault.New(fault.Exists, "dataset %s holds something that is no store of layers: name another", w.Layers)
	}
	if f.Config.UsernsRemap != "" && w.Door == Plugin {
		return fault.New(fault.Unsupported, "%s has \"userns-remap\", which does not work with a managed plugin: take it out, or use Docker 28 with the snapshotter", f.File.Path)
	}
	return checkOptions(w)
}

// checkOptions refuses options that nobody would read, or that name another dataset
// than the one that is made.
func checkOptions(w Request) error {
	if len(w.Options) > 0 && w.Door == Snapshotter {
		return fault.New(fault.Invalid, "--opt %s means nothing with the snapshotter, which does not read daemon.json: leave it out, and set it in /etc/overlayzfs/snapshotter.toml", w.Options[0])
	}
	for _, option := range w.Options {
		if optionKey(option) == datasetOption {
			return fault.New(fault.Invalid, "--opt %s names a dataset beside %s, which is the one for layers: name it with --dataset", option, w.Layers)
		}
	}
	return nil
}

// listRemaining says what is left to a person.
func (p *Plan) listRemaining(f Facts, w Request) {
	if w.Parent != "" && !p.hasDataRoot(f, w) {
		p.addRemaining("Docker's data-root stays in %s, where it has content. To have it on %s: stop dockerd, move the content away, run this again, and move it back.", w.Root, w.Parent)
	}
	if w.Door == Snapshotter {
		p.addRemaining("Install the snapshotter with dataset = %q in /etc/overlayzfs/snapshotter.toml, and name it in containerd's configuration: docs/containerd.md.", w.Layers)
		p.addRemaining("systemctl restart containerd docker")
		return
	}
	p.addRemaining("The plugin has to be enabled before dockerd is restarted: docker plugin create %s build/plugin; docker plugin enable %s", w.Driver, w.Driver)
	p.addRemaining("Docker 27 only: set DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1 in dockerd's environment.")
	p.addRemaining("systemctl restart docker; overlayzfs doctor")
}

// formatProperties is a list of properties as zfs(8) takes them.
func formatProperties(properties []property) (text string) {
	for _, p := range properties {
		text += fmt.Sprintf(" %s=%s", p.name, p.value)
	}
	return text
}
