package migrate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
)

// The keys of daemon.json that say which driver, how, and that it may be a
// plugin.
const (
	driverKey       = "storage-driver"
	optionsKey      = "storage-opts"
	experimentalKey = "experimental"
)

// containerdStore is the feature with which dockerd keeps its images in
// containerd's store, and asks no storage driver.
const containerdStore = "containerd-snapshotter"

// switchConfig has dockerd use the driver that was migrated to.
func (j *Job) switchConfig() error {
	return j.editConfig(j.switchedContent)
}

// restoreConfig has dockerd use the driver of before. Where daemon.json named the
// new one already, that is what layers and records say.
func (j *Job) restoreConfig() error {
	return j.editConfig(func(content []byte) ([]byte, error) {
		before, err := dockerconf.Decode(j.contentBefore())
		if err != nil {
			return nil, err
		}
		if before.StorageDriver == j.To {
			return contentWithDriver(content, j.To, j.From, j.driverOption(j.From))
		}
		return j.restoredContent(content)
	})
}

// editConfig changes daemon.json, unless it is to be left alone. Of content that is nil
// there is no file.
func (j *Job) editConfig(change func(content []byte) ([]byte, error)) error {
	if j.Config == "" {
		return nil
	}
	f, err := dockerconf.Load(j.Config)
	if err != nil {
		return err
	}
	if _, err := f.Config(); err != nil { // which says where it is wrong
		return err
	}
	content, err := change(f.Raw)
	switch {
	case err != nil || bytes.Equal(content, f.Raw):
		return err
	case content == nil:
		return f.Remove()
	}
	return f.Replace(content, "")
}

// switchedContent is the content of daemon.json with the driver that is migrated to.
func (j *Job) switchedContent(content []byte) ([]byte, error) {
	return contentWithDriver(content, j.From, j.To, j.driverOption(j.To))
}

// restoredContent is what daemon.json was, to the letter. Where somebody has changed it
// since it was switched, only the keys that the migration changed go back.
func (j *Job) restoredContent(content []byte) ([]byte, error) {
	ours, err := j.switchedContent(j.contentBefore())
	if err != nil {
		return nil, err
	}
	if bytes.Equal(content, ours) {
		return j.contentBefore(), nil
	}
	changes, err := dockerconf.DiffKeys(content, j.contentBefore(), driverKey, optionsKey, experimentalKey)
	if err != nil {
		return nil, err
	}
	return dockerconf.Edit(content, changes)
}

// contentBefore is the content that daemon.json had; nil where there was no file.
func (j *Job) contentBefore() []byte {
	if j.ConfigWas == nil {
		return nil
	}
	return append([]byte{}, *j.ConfigWas...)
}

// rememberConfig keeps what daemon.json is.
func (j *Job) rememberConfig(f dockerconf.File) {
	if f.Exists {
		content := string(f.Raw)
		j.ConfigWas = &content
	}
}

// requireWritable makes sure that daemon.json can be put in place, when that is what
// is going to be done.
func (j *Job) requireWritable(f dockerconf.File) error {
	content, err := j.switchedContent(f.Raw)
	if err != nil || bytes.Equal(content, f.Raw) {
		return err
	}
	return f.CheckWritable()
}

// contentWithDriver is the content of a daemon.json with another driver, and an option that it
// needs. The options of the driver before go: dockerd does not start with options
// that its driver does not know.
func contentWithDriver(content []byte, from, to, option string) ([]byte, error) {
	c, err := dockerconf.Decode(content)
	if err != nil {
		return nil, err
	}
	var changes []dockerconf.Change
	change := func(key string, value any) {
		changes = append(changes, dockerconf.Change{Path: []string{key}, Value: value})
	}
	if !dockerconf.IsBuiltin(to) && !c.Experimental {
		change(experimentalKey, true)
	}
	switch options := replaceOptions(c.StorageOpts, from, option); {
	case slices.Equal(options, c.StorageOpts):
	case len(options) == 0:
		change(optionsKey, nil)
	default:
		change(optionsKey, options)
	}
	if c.StorageDriver != to {
		change(driverKey, to)
	}
	return dockerconf.Edit(content, changes)
}

// replaceOptions are storage options without those of a driver, and with another, once.
func replaceOptions(options []string, without, with string) []string {
	key, _, _ := strings.Cut(with, "=")
	kept := slices.DeleteFunc(slices.Clone(options), func(o string) bool {
		o = strings.ToLower(o)
		return strings.HasPrefix(o, optionPrefix(without)) || key != "" && strings.HasPrefix(o, key+"=")
	})
	if with != "" {
		kept = append(kept, with)
	}
	return kept
}

// driverOption is what a driver has to be told to find its layers.
func (j *Job) driverOption(driver string) string {
	if driver != "zfs" {
		return ""
	}
	return "zfs.fsname=" + j.ZFSDataset
}

// optionPrefix is what the names of a driver's options begin with.
func optionPrefix(driver string) string {
	if dockerconf.IsBuiltin(driver) {
		return driver + "."
	}
	return "overlayzfs."
}

// planConfig notes what daemon.json says.
func (p *planner) planConfig() error {
	if p.Config == "" {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("daemon.json is left alone: have dockerd use the driver %s yourself", p.plan.Job.To))
		return nil
	}
	f, err := dockerconf.Load(p.Config)
	if err != nil {
		return err
	}
	c, err := f.Config()
	if err != nil {
		return err
	}
	if c.Features[containerdStore] {
		p.plan.addObstacle("%s has the feature %s: Docker's images are in containerd's store then, and no storage driver is used. Take it out first", p.Config, containerdStore)
	}
	p.plan.Job.Config = p.Config
	p.plan.Job.rememberConfig(f)
	if err := p.plan.Job.requireWritable(f); err != nil {
		p.plan.addObstacle("daemon.json cannot be written: %v; with --leave-config it is left alone", err)
	}
	return nil
}
