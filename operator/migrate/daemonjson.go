package migrate

import (
	"bytes"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/quota"
)

// The keys of daemon.json that choose the driver, set its options and allow a plugin.
const (
	driverKey       = "storage-driver"
	optionsKey      = "storage-opts"
	experimentalKey = "experimental"
	featuresKey     = "features"
)

// containerdStore is the feature that makes dockerd keep images in containerd, without a
// storage driver.
const containerdStore = "containerd-snapshotter"

// switchConfig sets the new driver in daemon.json.
func (j *Job) switchConfig() error {
	return j.editConfig(j.switchedContent)
}

// restoreConfig sets the old driver in daemon.json. It does so even when daemon.json named
// the new driver before the job, because layers and records belong to the old one.
func (j *Job) restoreConfig() error {
	return j.editConfig(func(content []byte) ([]byte, error) {
		before, err := dockerconf.Decode(j.contentBefore())
		if err != nil {
			return nil, err
		}
		if before.StorageDriver == j.To && j.Method != Import {
			return contentWithDriver(content, j.To, j.From, j.driverOption(j.From))
		}
		return j.restoredContent(content)
	})
}

// editConfig changes daemon.json, unless the job must not. Nil content means no file.
func (j *Job) editConfig(change func(content []byte) ([]byte, error)) error {
	if j.Config == "" {
		return nil
	}
	f, err := dockerconf.Load(j.Config)
	if err != nil {
		return err
	}
	if _, err := f.Config(); err != nil { // the error has line and column
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

// switchedContent returns the content of daemon.json with the new driver.
func (j *Job) switchedContent(content []byte) ([]byte, error) {
	if j.Method == Import {
		return contentWithImageStore(content, j.From, j.To)
	}
	return contentWithDriver(content, j.From, j.To, j.driverOption(j.To))
}

// restoredContent returns the old content of daemon.json, byte by byte. When somebody has
// changed the file since the migration, only the migration's keys are restored.
func (j *Job) restoredContent(content []byte) ([]byte, error) {
	ours, err := j.switchedContent(j.contentBefore())
	if err != nil {
		return nil, err
	}
	if bytes.Equal(content, ours) {
		return j.contentBefore(), nil
	}
	keys := []string{driverKey, optionsKey, experimentalKey}
	if j.Method == Import {
		keys = []string{driverKey, optionsKey, featuresKey}
	}
	changes, err := dockerconf.DiffKeys(content, j.contentBefore(), keys...)
	if err != nil {
		return nil, err
	}
	return dockerconf.Edit(content, changes)
}

// contentBefore returns the old content of daemon.json, or nil when there was no file.
func (j *Job) contentBefore() []byte {
	if j.ConfigWas == nil {
		return nil
	}
	return append([]byte{}, *j.ConfigWas...)
}

// rememberConfig stores the content of daemon.json in the job.
func (j *Job) rememberConfig(f dockerconf.File) {
	if f.Exists {
		content := string(f.Raw)
		j.ConfigWas = &content
	}
}

// requireWritable fails when daemon.json has to be changed and cannot be replaced.
func (j *Job) requireWritable(f dockerconf.File) error {
	content, err := j.switchedContent(f.Raw)
	if err != nil || bytes.Equal(content, f.Raw) {
		return err
	}
	return f.CheckWritable()
}

// contentWithDriver returns the content of a daemon.json with another driver and the
// option that this driver needs. It drops the other driver's options, because dockerd
// does not start with options that its driver does not know. A default limit becomes the
// plugin's.
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
	switch options := translateLimit(c.StorageOpts, replaceOptions(c.StorageOpts, from, option), from, to); {
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

// contentWithImageStore returns the content of a daemon.json that has dockerd keep images in
// containerd, with a snapshotter. It drops the old driver's options.
func contentWithImageStore(content []byte, from, snapshotter string) ([]byte, error) {
	c, err := dockerconf.Decode(content)
	if err != nil {
		return nil, err
	}
	var changes []dockerconf.Change
	if !c.Features[containerdStore] {
		changes = append(changes, dockerconf.Change{Path: []string{featuresKey, containerdStore}, Value: true})
	}
	switch options := replaceOptions(c.StorageOpts, from, ""); {
	case slices.Equal(options, c.StorageOpts):
	case len(options) == 0:
		changes = append(changes, dockerconf.Change{Path: []string{optionsKey}})
	default:
		changes = append(changes, dockerconf.Change{Path: []string{optionsKey}, Value: options})
	}
	if c.StorageDriver != snapshotter {
		changes = append(changes, dockerconf.Change{Path: []string{driverKey}, Value: snapshotter})
	}
	return dockerconf.Edit(content, changes)
}

// sizeKeys are the options of Docker's drivers for a default limit of containers.
var sizeKeys = map[string]string{"overlay2": "overlay2.size", "vfs": "size"}

// sizeOption is the plugin's option for a default limit of containers.
const sizeOption = "overlayzfs.size"

// defaultLimit returns the value of a driver's default limit, or "".
func defaultLimit(options []string, driver string) (value string) {
	for _, o := range options {
		key, v, _ := strings.Cut(o, "=")
		if wanted, ok := sizeKeys[driver]; ok && strings.EqualFold(strings.TrimSpace(key), wanted) {
			value = strings.TrimSpace(v)
		}
	}
	return value
}

// translateLimit adds the plugin's default limit where the old driver had one that the
// plugin understands.
func translateLimit(before, after []string, from, to string) []string {
	limit := defaultLimit(before, from)
	if limit == "" || dockerconf.IsBuiltin(to) {
		return after
	}
	if _, err := quota.ParseBytes("size", limit); err != nil {
		return after
	}
	has := slices.ContainsFunc(after, func(o string) bool {
		key, _, _ := strings.Cut(o, "=")
		return strings.EqualFold(strings.TrimSpace(key), sizeOption)
	})
	if has {
		return after
	}
	return append(after, sizeOption+"="+limit)
}

// noteLimits notes what becomes of default limits.
func (p *planner) noteLimits(options []string) {
	j := &p.plan.Job
	if j.isBack() {
		for _, o := range p.PluginOptions {
			key, _, _ := strings.Cut(strings.ToLower(o), "=")
			if key = strings.TrimSpace(key); key == sizeOption || key == "overlayzfs.inodes" {
				p.plan.addNote("the plugin's default limit (%s) is lost: new containers of the driver %s have none", o, j.To)
			}
		}
		return
	}
	limit := defaultLimit(options, j.From)
	if limit == "" {
		return
	}
	if p.ImageStore != nil {
		p.plan.addNote("the default limit %s=%s is lost unless you set size in the table [limits] of snapshotter.toml", sizeKeys[j.From], limit)
		return
	}
	if _, err := quota.ParseBytes("size", limit); err != nil {
		p.plan.addNote("the default limit %s=%s is lost, because the plugin does not understand it: %v", sizeKeys[j.From], limit, err)
		return
	}
	if p.Config == "" {
		p.plan.addNote("the default limit %s=%s is lost unless you write %s=%s into daemon.json", sizeKeys[j.From], limit, sizeOption, limit)
		return
	}
	p.plan.addNote("the default limit %s=%s becomes %s=%s, for new containers; those that are there keep the limits they were created with", sizeKeys[j.From], limit, sizeOption, limit)
}

// replaceOptions returns storage options without those of one driver and with the option
// with, once.
func replaceOptions(options []string, without, with string) []string {
	key, _, _ := strings.Cut(with, "=")
	kept := slices.DeleteFunc(slices.Clone(options), func(o string) bool {
		o = strings.ToLower(o)
		size, _, _ := strings.Cut(o, "=")
		return strings.HasPrefix(o, optionPrefix(without)) || sizeKeys[without] != "" && strings.TrimSpace(size) == sizeKeys[without] || key != "" && strings.HasPrefix(o, key+"=")
	})
	if with != "" {
		kept = append(kept, with)
	}
	return kept
}

// driverOption returns the option that a driver needs to find its layers, or "".
func (j *Job) driverOption(driver string) string {
	if driver != "zfs" {
		return ""
	}
	return "zfs.fsname=" + j.ZFSDataset
}

// optionPrefix returns the prefix of a driver's option names.
func optionPrefix(driver string) string {
	if dockerconf.IsBuiltin(driver) {
		return driver + "."
	}
	return "overlayzfs."
}

// readUnchanged reads a daemon.json that is not to be changed.
func readUnchanged(config string) (c dockerconf.Config, err error) {
	if config == "" {
		return c, nil
	}
	return dockerconf.Read(config)
}

// planConfig reads daemon.json into the job and adds an obstacle when it cannot be changed.
func (p *planner) planConfig() error {
	if p.Config == "" {
		p.plan.addNote("daemon.json is not changed: configure dockerd to use the driver %s yourself", p.plan.Job.To)
		c, err := readUnchanged(p.ReadConfig)
		p.checkOwners(c, p.ReadConfig)
		p.noteLimits(c.StorageOpts)
		return err
	}
	f, err := dockerconf.Load(p.Config)
	if err != nil {
		return err
	}
	c, err := f.Config()
	if err != nil {
		return err
	}
	p.checkOwners(c, p.Config)
	if c.Features[containerdStore] && p.ImageStore == nil {
		p.plan.addObstacle("%s enables the feature %s: Docker then keeps its images in containerd and uses no storage driver; remove the feature first", p.Config, containerdStore)
	}
	p.noteLimits(c.StorageOpts)
	p.plan.Job.Config = p.Config
	p.plan.Job.rememberConfig(f)
	if err := p.plan.Job.requireWritable(f); err != nil {
		p.plan.addObstacle("cannot write daemon.json: %v; use --leave-config to edit it yourself", err)
	}
	return nil
}

// checkOwners adds an obstacle when an Import would have to map files' owners.
func (p *planner) checkOwners(c dockerconf.Config, file string) {
	if c.UsernsRemap != "" && p.ImageStore != nil {
		p.plan.addObstacle("%s has userns-remap: a migration to the snapshotter does not map owners yet", file)
	}
}
