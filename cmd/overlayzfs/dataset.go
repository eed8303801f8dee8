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

// datasetEnv is where the dataset is looked for when no flag names it.
const datasetEnv = "OVERLAYZFS_DATASET"

// place are the flags that say which store a command is about. What they do not
// say is found.
type place struct {
	dataset string
	wanted  host.Overrides
	config  string // daemon.json, if no flag names it
}

func (p *place) flag(flags *pflag.FlagSet, c console) {
	flags.StringVar(&p.dataset, "dataset", c.getenv(datasetEnv), "dataset of the layers, `POOL/NAME` ("+datasetEnv+"); found in Docker's configuration if not named")
	flags.StringVar(&p.wanted.Root, "root", "", "Docker's data-root, `DIR`, if not that of daemon.json")
	flags.StringVar(&p.wanted.Driver, "driver", "", "`NAME` of the storage driver in Docker's records, if not that of daemon.json")
	flags.StringVar(&p.wanted.Config, "config-file", "", "Docker's daemon.json, `FILE`, if not "+dockerconf.DefaultFile)
	p.config = c.config
}

// find looks for the store.
func (p *place) find() (host.Location, error) {
	if err := p.check(); err != nil {
		return host.Location{}, err
	}
	p.wanted.Dataset = p.dataset
	p.wanted.Config = cmp.Or(p.wanted.Config, p.config)
	s, err := host.FindStore(p.wanted)
	if errors.Is(err, fault.NotFound) {
		return s, usagef("which store? %w", err)
	}
	return s, err
}

// check refuses a name that cannot be a dataset's.
func (p *place) check() error {
	if p.dataset == "" {
		return nil
	}
	if err := zfs.CheckDatasetName(p.dataset); err != nil {
		return usageError{err}
	}
	return nil
}

// with runs a command that needs the dataset alone, with /dev/zfs open. Docker's
// configuration is read only if no dataset was named.
func (p *place) with(run func(*zfs.Handle) error) error {
	err := p.check()
	if p.dataset == "" {
		err = p.findDataset()
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

func (p *place) findDataset() error {
	s, err := p.find()
	if err == nil {
		p.dataset, err = datasetOf(s)
	}
	return err
}

// datasetOf is the dataset that the store lies on.
func datasetOf(s host.Location) (string, error) {
	if s.Dataset != "" {
		return s.Dataset, nil
	}
	return zfs.DatasetOf(s.Home)
}

// split takes a snapshot's name with or without its dataset in front, and
// returns what stands after the @.
func (p *place) split(name string) (string, error) {
	dataset, bare, full := strings.Cut(name, "@")
	switch {
	case !full:
		return name, nil
	case dataset == "":
		return bare, nil
	case p.dataset != "" && p.dataset != dataset:
		return "", usagef("%s names another dataset than --dataset or %s, %s", name, datasetEnv, p.dataset)
	}
	p.dataset = dataset
	return bare, nil
}
