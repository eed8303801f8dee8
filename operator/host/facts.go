package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Door is the way in which Docker reaches the layers.
type Door string

// The doors.
const (
	Plugin      Door = "plugin"      // Docker up to 27
	Snapshotter Door = "snapshotter" // Docker 28 and later
)

// Request says what the operator wants set up.
type Request struct {
	// Parent is the dataset of the data-root; layers and volumes have datasets below it.
	// It is empty when only the layers get a dataset.
	Parent    string
	Layers    string // the dataset of the layers
	Root      string // Docker's data-root
	Driver    string
	Door      Door
	Sync      string   // the layers' property sync; empty leaves it unchanged
	Options   []string // storage options for daemon.json, in addition to the dataset
	PluginDir string   // a plugin to create, or empty
	// Containerd is the path of containerd's configuration.
	Containerd string
	// MoveRoot moves the content of the data-root to the parent. CheckStopped fails while one of
	// its containers runs.
	MoveRoot     bool
	CheckStopped func(root string) error
	// Systemd is the directory of the units, or empty when dockerd is none of them.
	Systemd string
	// Services is the host's systemd, or nil where it does not run dockerd: services are not
	// started and restarted then, and the snapshotter and containerd not configured. NoRestart
	// leaves containerd and dockerd as they run.
	Services  *services.Manager
	NoRestart bool
	// SnapshotterConfig is the path of the snapshotter's configuration.
	SnapshotterConfig string
	// Pods runs Kubernetes's pods on the snapshotter, too.
	Pods bool
	// Config is the path of daemon.json, and Host dockerd's address. Program is a static program
	// that ends well with the argument --version.
	Config, Host, Program string
}

// volumesDataset returns the dataset for Docker's volumes, or "" without a parent.
func (w Request) volumesDataset() string {
	if w.Parent == "" {
		return ""
	}
	return w.Parent + "/volumes"
}

func (w Request) volumesDir() string { return filepath.Join(w.Root, "volumes") }

// Facts describes the host before setup.
type Facts struct {
	Module          string                 // the zfs module's version
	Datasets        map[string]zfs.Dataset // those wanted that exist
	Above           map[string]*Above      // of each dataset that does not exist
	Rules           *zfs.NameRules         // of the layers' dataset, if it exists
	DropIns         map[string]DropIn      // by unit; nil without systemd
	Occupied        bool                   // the layers' dataset holds something that is no store
	ForeignDatasets []string               // datasets below the parent that are not of the layout
	RootOn          string                 // the dataset mounted on the data-root, if one is
	RootHasContent  bool                   // there is something in the data-root
	// VolumesOn and VolumesHaveContent say the same of the data-root's directory of volumes.
	VolumesOn          string
	VolumesHaveContent bool
	Moving             bool   // a move of the data-root to the parent is under way
	OldRoot            string // the content of before such a move, or empty
	File               dockerconf.File
	Config             dockerconf.Config
	FileReadOnly       string // why the file cannot be written, or empty
	// Plugin is the installed plugin, and PluginDataset what its own settings name.
	Plugin        *dockerstore.Plugin
	PluginDataset string
	Engine        *Engine // nil when none runs on the data-root
	// SnapshotterThere is set when containerd knows the snapshotter.
	SnapshotterThere bool
	// Units are the states of the services, and nil without a systemd. NoDocker is set when
	// dockerd is none of them, and none answers. Snapshotter is nil where the snapshotter is not installed, and where
	// containerd is none of them.
	Units       map[string]services.State
	NoDocker    bool
	Snapshotter *SnapshotterFacts
}

// Gather reads the facts of the host.
func Gather(z *zfs.Handle, w Request, config string) (f Facts, err error) {
	f.Module, f.Datasets, f.Above = z.ABI().Version, map[string]zfs.Dataset{}, map[string]*Above{}
	if f.File, err = dockerconf.Load(config); err != nil {
		return f, err
	}
	if f.Config, err = dockerconf.Read(config); err != nil {
		return f, err
	}
	if f.FileReadOnly, err = f.File.WhyReadOnly(); err != nil {
		return f, err
	}
	c, err := containerdconf.Read(w.Containerd)
	if err != nil {
		return f, err
	}
	f.SnapshotterThere = c.HasSnapshotter(w.Driver)
	for _, name := range []string{w.Parent, w.Layers, w.volumesDataset()} {
		if name == "" {
			continue
		}
		if err := f.inspectDataset(z, name); err != nil {
			return f, err
		}
	}
	if f.DropIns, err = readDropIns(w); err != nil {
		return f, err
	}
	if _, there := f.Datasets[w.Layers]; there {
		rules, err := z.NameRules(w.Layers)
		if err != nil {
			return f, err
		}
		f.Rules = &rules
		if f.Occupied, err = isOccupied(w.Layers); err != nil {
			return f, err
		}
	}
	if _, there := f.Datasets[w.Parent]; there {
		if f.ForeignDatasets, err = findForeign(z, w); err != nil {
			return f, err
		}
	}
	if err := f.inspectDirs(w); err != nil {
		return f, err
	}
	return f, f.inspectMove(w)
}

// inspectDataset reads a dataset, or the nearest one above it.
func (f *Facts) inspectDataset(z *zfs.Handle, name string) error {
	d, err := z.DatasetStats(name)
	if errors.Is(err, zfs.ErrNotExist) {
		f.Above[name], err = findAbove(z, name)
		return err
	}
	f.Datasets[name] = d
	return err
}

// findForeign lists the datasets below the parent that do not belong to the layout.
func findForeign(z *zfs.Handle, w Request) (names []string, err error) {
	for child, err := range z.Children(w.Parent) {
		if err != nil {
			return nil, err
		}
		if child.Name != w.volumesDataset() && child.Name != w.Layers && !strings.HasPrefix(w.Layers, child.Name+"/") {
			names = append(names, child.Name)
		}
	}
	return names, nil
}

// isOccupied reports whether a dataset has content that is not a store of layers.
func isOccupied(dataset string) (bool, error) {
	view, err := overlayzfs.OpenDatasetReadOnly(dataset)
	if err == nil {
		return false, view.Close()
	}
	if !errors.Is(err, fault.NotFound) {
		return false, err
	}
	root, err := zfs.OpenDatasetReadOnly(dataset)
	if err != nil {
		return false, err
	}
	hides, err := hasContent(fmt.Sprintf("/proc/self/fd/%d", root.Fd())) // an O_PATH descriptor cannot be read
	return hides, errors.Join(err, root.Close())
}

// inspectDirs finds what is mounted on the data-root and its volumes, and whether they
// have content.
func (f *Facts) inspectDirs(w Request) (err error) {
	if f.RootOn, f.RootHasContent, err = inspectDir(w.Root); err != nil {
		return err
	}
	f.VolumesOn, f.VolumesHaveContent, err = inspectDir(w.volumesDir())
	return err
}

func inspectDir(dir string) (dataset string, hides bool, err error) {
	mounts, err := mount.ListAt(dir)
	if err != nil {
		return "", false, err
	}
	if n := len(mounts); n > 0 && mounts[n-1].FSType == "zfs" {
		dataset = mounts[n-1].Source
	}
	hides, err = hasContent(dir)
	return dataset, hides, err
}

// hasContent reports whether a directory has entries, which a mount would hide.
func hasContent(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	// .zfs is listed in a dataset's root where the property snapdir is visible.
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != ".zfs" }), err
}
