package host

import (
	"os"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// containerdStore is the feature of dockerd that keeps images in containerd.
const containerdStore = "containerd-snapshotter"

// firstBackup is the suffix of the daemon.json of before setup.
const firstBackup = ".before-overlayzfs"

// undoContainerdStore plans to take the containerd image store away again, where the file of
// before setup did not have it: the images of before are in a storage driver.
func (p *Plan) undoContainerdStore(r Removal, config dockerconf.Config) (changes []dockerconf.Change, err error) {
	if config.StorageDriver != r.Where.Driver || !config.Features[containerdStore] {
		return nil, nil
	}
	if _, err := os.Stat(r.Config + firstBackup); err == nil {
		before, err := dockerconf.Read(r.Config + firstBackup)
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

// leaveContainerd lists what a person has to do so that containerd does without the snapshotter.
func (p *Plan) leaveContainerd(_ *zfs.Handle, r Removal) error {
	named, err := hasProxyPlugin(r.Containerd, r.Where.Driver)
	if err != nil || !named {
		return err
	}
	p.addRemaining("containerd still names the snapshotter. Take [proxy_plugins.%s], and each line that has it as a snapshotter, out of %s and of the files that it imports. "+
		"Then: systemctl restart containerd; systemctl disable --now overlayzfs-snapshotter.socket overlayzfs-snapshotter.service", r.Where.Driver, r.Containerd)
	return nil
}
