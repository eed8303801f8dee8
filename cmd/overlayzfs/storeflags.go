package main

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// datasetEnv is the variable that names the dataset when no flag does.
const datasetEnv = "OVERLAYZFS_DATASET"

// storeFlags are the global flags that name the store. The command finds the rest
// in Docker's configuration.
type storeFlags struct {
	dataset string
	wanted  host.Overrides
	config  string // daemon.json, if no flag names it
}

// register defines the flags.
func (f *storeFlags) register(flags *pflag.FlagSet, c console) {
	f.config = c.config
	valueFlag(flags, &f.dataset, "dataset", "", "POOL/NAME", c.getenv(datasetEnv), "dataset of the layers (env "+datasetEnv+"; default: as Docker is configured)")
	valueFlag(flags, &f.wanted.Root, "root", "", "DIR", "", "Docker's data-root (default: as in daemon.json)")
	valueFlag(flags, &f.wanted.Driver, "driver", "", "NAME", "", "storage driver in Docker's records (default: as in daemon.json)")
	valueFlag(flags, &f.wanted.Config, "config-file", "", "FILE", "", `Docker's configuration (default "`+dockerconf.DefaultFile+`")`)
}

// registerContainerd defines the flag of a command that reads the records of a snapshotter's
// store.
func (f *storeFlags) registerContainerd(flags *pflag.FlagSet) {
	valueFlag(flags, &f.wanted.ContainerdRoot, "containerd-root", "", "DIR", "", "containerd's root directory (default: that which uses the snapshotter)")
}

// findConfig names the daemon.json of the running dockerd, unless a flag names one: NixOS has
// it elsewhere.
func (f *storeFlags) findConfig() {
	if f.wanted.Config != "" || f.config != dockerconf.DefaultFile {
		return
	}
	if file := dockerconf.FindFile("/proc"); file != dockerconf.DefaultFile {
		f.wanted.Config = file
	}
}

// locate finds the store, or fails as a command that was called wrongly.
func (f *storeFlags) locate() (host.Location, error) {
	if err := f.checkDataset(); err != nil {
		return host.Location{}, err
	}
	f.wanted.Dataset = f.dataset
	f.wanted.Config = cmp.Or(f.wanted.Config, f.config)
	s, err := host.FindStore(f.wanted)
	if errors.Is(err, fault.NotFound) {
		return s, usagef("no store found: %w", err)
	}
	return s, err
}

// locateAny finds the plugin's store or, if there is none, the snapshotter's, which the
// configuration file snapshotter names. The snapshotter's comes first where daemon.json has
// Docker keep its images in containerd.
func (f *storeFlags) locateAny(snapshotter string) (host.Location, error) {
	config, err := dockerconf.Read(cmp.Or(f.wanted.Config, f.config))
	ours := err == nil && config.Features["containerd-snapshotter"] && f.dataset == ""
	s, err := f.locate()
	if err == nil && !ours || err != nil && !errors.Is(err, fault.NotFound) {
		return s, err
	}
	dataset, wrong := host.SnapshotterDataset(snapshotter)
	if wrong != nil || dataset == "" {
		return s, errors.Join(err, wrong)
	}
	f.dataset = dataset
	return f.locate()
}

// checkDataset refuses a name that no dataset can have.
func (f *storeFlags) checkDataset() error {
	if f.dataset == "" {
		return nil
	}
	if err := zfs.CheckDatasetName(f.dataset); err != nil {
		return usageError{err}
	}
	return nil
}

// openZFS runs a command that needs /dev/zfs and the dataset's name, and no store.
// It reads Docker's configuration only if no flag names the dataset.
func (f *storeFlags) openZFS(run func(*zfs.Handle) error) error {
	err := f.checkDataset()
	if f.dataset == "" {
		err = f.locateDataset()
	}
	if err != nil {
		return err
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	return errors.Join(run(z), z.Close())
}

func (f *storeFlags) locateDataset() error {
	s, err := f.locateAny(host.SnapshotterConfig)
	if err == nil {
		f.dataset, err = s.LayersDataset()
	}
	return err
}

// splitSnapshot takes a snapshot's name with or without its dataset, and returns
// the part after the @. A dataset in the name counts as one given by --dataset.
func (f *storeFlags) splitSnapshot(name string) (string, error) {
	dataset, bare, full := strings.Cut(name, "@")
	switch {
	case !full:
		return name, nil
	case dataset == "":
		return bare, nil
	case f.dataset != "" && f.dataset != dataset:
		return "", usagef("%s is not a snapshot of %s, which --dataset or %s names", name, f.dataset, datasetEnv)
	}
	f.dataset = dataset
	return bare, nil
}
