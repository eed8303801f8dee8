package host

import (
	"context"
	"os"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// containerdStore is the feature of dockerd that keeps images in containerd.
const containerdStore = "containerd-snapshotter"

// undoContainerdStore plans to take the containerd image store away again, where the file of
// before setup did not have it: the images of before are in a storage driver.
func (p *Plan) undoContainerdStore(r Removal, config dockerconf.Config) (changes []dockerconf.Change, err error) {
	if config.StorageDriver != r.Where.Driver || !config.Features[containerdStore] {
		return nil, nil
	}
	if _, err := os.Stat(r.Config + configfile.BackupSuffix); err == nil {
		before, err := dockerconf.Read(r.Config + configfile.BackupSuffix)
		if err != nil {
			return nil, err
		}
		if !before.Features[containerdStore] {
			return []dockerconf.Change{{Path: []string{"features", containerdStore}}}, nil
		}
	}
	p.addRemaining("Docker keeps its images in containerd, on another snapshotter. If it had a storage driver before, take \"features.%s\" out of %s: its images are back then.", containerdStore, r.Config)
	return nil, nil
}

// leaveContainerd plans to remove the file that setup has added to containerd's configuration, and
// lists what a person has to do so that containerd does without the snapshotter.
func (p *Plan) leaveContainerd(_ *zfs.Handle, r Removal) error {
	const after = "systemctl restart containerd; systemctl disable --now overlayzfs-snapshotter.socket overlayzfs-snapshotter.service"
	ours := containerdDropIn(r.Containerd)
	raw, err := configfile.Read(ours)
	isOurs := err == nil && strings.HasPrefix(string(raw), containerdconf.DropInHead)
	if isOurs {
		p.addStep(func(context.Context, *zfs.Handle) error { return removeFile(ours) }, "overlayzfs setup", "remove %s", ours)
	}
	c, err := containerdconf.ReadWithout(r.Containerd, ours)
	switch {
	case err != nil:
		return err
	case c.HasSnapshotter(r.Where.Driver):
		p.addRemaining("containerd still names the snapshotter. Take [proxy_plugins.%s], and each line that has it as a snapshotter, out of %s and of the files that it imports. "+
			"Then: %s", r.Where.Driver, r.Containerd, after)
	case isOurs:
		p.addRemaining("containerd no longer names the snapshotter: %s", after)
	}
	return nil
}
