package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// datasetEnv is where the dataset is looked for when no flag names it.
const datasetEnv = "OVERLAYZFS_DATASET"

// place is the flag that says which store a command is about.
type place struct{ dataset string }

func (p *place) flag(flags *pflag.FlagSet, c console) {
	flags.StringVar(&p.dataset, "dataset", c.getenv(datasetEnv), "dataset of the layers, `POOL/NAME` ("+datasetEnv+")")
}

// with runs a command on the dataset with /dev/zfs open.
func (p place) with(run func(*zfs.Handle) error) error {
	if p.dataset == "" {
		return usagef("which dataset? name the one of overlayzfs.dataset with --dataset POOL/NAME or in %s", datasetEnv)
	}
	if err := zfs.CheckDatasetName(p.dataset); err != nil {
		return usageError{err}
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	return errors.Join(run(z), z.Close())
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
