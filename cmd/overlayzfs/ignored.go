package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rule is about a flag that would be ignored, and says what to do instead.
type rule struct {
	flag    string
	with    string // given together with this one
	without string // or while this one is not given
	instead string
}

// onDataset are the rules of commands that look for nothing but the dataset.
var onDataset = []rule{
	{flag: "root", with: "dataset", instead: "the dataset is all that it would find; leave it out"},
	{flag: "driver", with: "dataset", instead: "the dataset is all that it would find; leave it out"},
	{flag: "config-file", with: "dataset", instead: "the dataset is all that it would find; leave it out"},
}

// rules are those of each command.
var rules = map[string][]rule{
	"migrate": {
		{flag: "to", without: "back", instead: "it names the driver to go back to; --from names the one to come from"},
		{flag: "untried", without: "finish", instead: "it has old layers deleted though dockerd has not run with the new ones"},
		{flag: "reclaim", with: "back", instead: "the plugin's layers stay on the way back; destroy their dataset when --finish is done and nothing wants it any more"},
		{flag: "reclaim", with: "undo", instead: "an undo goes back to the old layers, and deletes those that were carried; leave it out"},
		{flag: "reclaim", with: "finish", instead: "that deletes the old layers anyway; leave it out"},
		{flag: "zfs-dataset", with: "undo", instead: "the migration that was begun knows its datasets; leave it out"},
		{flag: "zfs-dataset", with: "finish", instead: "the migration that was begun knows its datasets; leave it out"},
	},
	"receive":   {{flag: "input", with: "finish", instead: "no stream is read; leave one of the two out"}},
	"setup":     {{flag: "host", with: "way", instead: "dockerd is not asked which way fits it; leave one of the two out"}},
	"snapshot":  onDataset,
	"snapshots": onDataset,
	"rollback":  slices.Concat(onDataset, []rule{{flag: "records", with: "layers-only", instead: "Docker's records stay as they are; leave one of the two out"}}),
}

// refuseIgnored refuses flags that would be ignored: who gives one expects something
// of it.
func refuseIgnored(command *cobra.Command, args []string) error {
	flags := command.Flags()
	for _, r := range rules[command.Name()] {
		switch {
		case !given(flags, r.flag):
		case r.with != "" && given(flags, r.with):
			return usagef("--%s means nothing with --%s: %s", r.flag, r.with, r.instead)
		case r.with == "dataset" && flags.Lookup("dataset").DefValue != "":
			return usagef("--%s means nothing with %s in the environment: %s", r.flag, datasetEnv, r.instead)
		case r.with == "dataset" && slices.ContainsFunc(args, withDataset):
			return usagef("--%s means nothing with %s: %s", r.flag, args[0], r.instead)
		case r.without != "" && !given(flags, r.without):
			return usagef("--%s means nothing without --%s: %s", r.flag, r.without, r.instead)
		}
	}
	return nil
}

// withDataset reports whether a snapshot's name has its dataset in front.
func withDataset(name string) bool { return strings.Index(name, "@") > 0 }

// given reports whether a flag says something else than without it.
func given(flags *pflag.FlagSet, name string) bool {
	f := flags.Lookup(name)
	return f.Changed && f.Value.String() != f.DefValue
}
