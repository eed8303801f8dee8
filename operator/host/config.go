package host

import (
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

const (
	datasetOption = "overlayzfs.dataset"
	driverPrefix  = "overlayzfs." // what the driver's options begin with
)

// planConfig plans to edit daemon.json, if something has to change there.
func (p *Plan) planConfig(f Facts, w Request) error {
	if f.NoDocker {
		return nil
	}
	changes, err := p.diffConfig(f, w)
	if err != nil {
		return err
	}
	if f.FileReadOnly != "" && len(changes) > 0 {
		return p.showConfig(f, changes)
	}
	edited, err := f.File.Edit(changes)
	if err != nil || len(changes) == 0 {
		return err
	}
	var texts []string
	for _, c := range changes {
		texts = append(texts, c.String())
	}
	p.replaceFile(f.File.File, edited, services.Docker, strings.Join(texts, ", "))
	return nil
}

// showConfig shows the keys of a daemon.json that cannot be written, as on NixOS.
func (p *Plan) showConfig(f Facts, changes []dockerconf.Change) error {
	text, err := dockerconf.Edit(nil, changes)
	if err != nil {
		return err
	}
	p.configText = f.File.Path + " cannot be written: " + f.FileReadOnly + ". Give dockerd these keys by your system's own means (on NixOS, virtualisation.docker.daemon.settings):\n    " +
		strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n    ")
	for _, c := range changes {
		if c.Value == nil {
			p.configText += "\n    and " + c.String()
		}
	}
	return nil
}

// diffConfig returns the changes that daemon.json needs. The storage driver and what belongs
// to it wait until the driver is there.
func (p *Plan) diffConfig(f Facts, w Request) (changes []dockerconf.Change, err error) {
	change := func(value any, path ...string) {
		changes = append(changes, dockerconf.Change{Path: path, Value: value})
	}
	c := f.Config
	if resolve(c.DataRoot) != resolve(w.Root) {
		change(w.Root, "data-root")
	}
	if c.StorageDriver != w.Driver {
		if !p.driverReady {
			_, err := overlayzfs.ParseOptions(mergeOptions(f, w))
			return changes, err
		}
		change(w.Driver, "storage-driver")
	}
	if w.Door == Snapshotter {
		if !c.Features[containerdStore] {
			change(true, "features", containerdStore)
		}
		return changes, nil
	}
	if !c.Experimental {
		change(true, "experimental")
	}
	if c.Features[containerdStore] { // dockerd would look for a snapshotter named like the driver
		change(nil, "features", containerdStore)
	}
	options := mergeOptions(f, w)
	if _, err := overlayzfs.ParseOptions(options); err != nil {
		return nil, err
	}
	if !slices.Equal(options, c.StorageOpts) {
		change(options, "storage-opts")
	}
	return changes, nil
}

// mergeOptions returns the storage options for daemon.json: the present ones and those
// of the request. It drops options of another driver, which ours refuses, and names the
// dataset only if the plugin's settings do not.
func mergeOptions(f Facts, w Request) (options []string) {
	wanted := w.Options
	if f.PluginDataset != w.Layers {
		wanted = append([]string{datasetOption + "=" + w.Layers}, wanted...)
	}
	for _, option := range f.Config.StorageOpts {
		key := optionKey(option)
		i := slices.IndexFunc(wanted, func(other string) bool { return optionKey(other) == key })
		switch {
		case i >= 0:
			options = append(options, wanted[i])
			wanted = slices.Delete(slices.Clone(wanted), i, i+1)
		case key == datasetOption: // the plugin's settings name the right one
		case strings.HasPrefix(key, driverPrefix) || f.Config.StorageDriver == w.Driver:
			options = append(options, option)
		}
	}
	return append(options, wanted...)
}

// optionKey returns an option's name in lower case. Option names are not case-sensitive.
func optionKey(option string) string {
	key, _, _ := strings.Cut(option, "=")
	return strings.ToLower(strings.TrimSpace(key))
}
