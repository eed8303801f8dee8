package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// rule refuses a flag that the command would ignore, and says what to do instead.
type rule struct {
	flag    string
	with    string // refused together with this flag
	without string // or refused without this flag
	instead string
}

// datasetRules are the rules of commands that need the dataset and no store.
var datasetRules = []rule{
	{flag: "root", with: "dataset", instead: "it would only find the dataset; leave it out"},
	{flag: "driver", with: "dataset", instead: "it would only find the dataset; leave it out"},
	{flag: "config-file", with: "dataset", instead: "it would only find the dataset; leave it out"},
}

// tableRules are the rules of commands that print a table or JSON.
var tableRules = []rule{
	{flag: "no-header", with: "json", instead: "it is for the table; leave one of the two out"},
	{flag: "exact", with: "json", instead: "numbers in JSON are exact anyway; leave it out"},
	{flag: "columns", with: "json", instead: "it is for the table; leave one of the two out"},
}

// containerRules are those of a rollback of one container.
var containerRules = []rule{
	{flag: "to", without: "container", instead: "it is where the files of one container go"},
	{flag: "into", without: "container", instead: "it is where the files of one container go"},
	{flag: "containerd-root", with: "container", instead: "containerd's records stay as they are; leave it out"},
	{flag: "destroy-newer", with: "container", instead: "the files of one container are copied, and no snapshot is in the way"},
	{flag: "accept-missing", with: "container", instead: "the container has to be in the snapshot; leave it out"},
	{flag: "layers-only", with: "container", instead: "Docker's records stay as they are anyway; leave it out"},
	{flag: "records", with: "container", instead: "Docker's records stay as they are; leave it out"},
}

// rules are those of each command.
var rules = map[string][]rule{
	"migrate": {
		{flag: "untried", without: "finish", instead: "it lets --finish delete old layers before dockerd has run with the new ones"},
		{flag: "reclaim", with: "back", instead: "--back keeps the plugin's layers; destroy their dataset yourself after --finish"},
		{flag: "reclaim", with: "undo", instead: "--undo needs the old layers, and deletes the copies; leave it out"},
		{flag: "reclaim", with: "finish", instead: "--finish deletes the old layers anyway; leave it out"},
		{flag: "in-place", with: "back", instead: "--back takes the layers out of the plugin's directory; leave it out"},
		{flag: "in-place", with: "undo", instead: "--undo takes the layers out of the plugin's directory; leave it out"},
		{flag: "in-place", with: "finish", instead: "the layers lie where they lie; leave it out"},
		{flag: "zfs-dataset", with: "undo", instead: "the journal of the migration has its datasets; leave it out"},
		{flag: "zfs-dataset", with: "finish", instead: "the journal of the migration has its datasets; leave it out"},
	},
	"limit": {
		{flag: "size", with: "none", instead: "--none removes both limits; leave one of the two out"},
		{flag: "inodes", with: "none", instead: "--none removes both limits; leave one of the two out"},
	},
	"push": {
		{flag: "plugin-dir", with: "layout", instead: "the layout has the plugin; leave one of the two out"},
		{flag: "username", without: "password-stdin", instead: "the password is read from standard input"},
		{flag: "password-stdin", without: "username", instead: "it is the password of a user; name the user"},
	},
	"receive": {
		{flag: "input", with: "finish", instead: "--finish reads no stream; leave one of the two out"},
		{flag: "address", with: "finish", instead: "--finish is about a plugin's store; leave one of the two out"},
	},
	"restore": {
		{flag: "input", with: "mount", instead: "--mount reads no stream; leave one of the two out"},
		{flag: "input", with: "have", instead: "--have reads no stream; leave one of the two out"},
		{flag: "mount", with: "have", instead: "--have only prints what was received; leave one of the two out"},
		{flag: "root", without: "mount", instead: "it is where --mount mounts the data-root"},
	},
	"setup": {
		{flag: "sync", with: "remove", instead: "--remove sets nothing; leave it out"},
		{flag: "move-data-root", with: "remove", instead: "--remove moves nothing; leave it out"},
		{flag: "way", with: "remove", instead: "--remove takes away whatever is there; leave it out"},
		{flag: "plugin-dir", with: "remove", instead: "--remove creates no plugin; leave it out"},
		{flag: "no-restart", with: "remove", instead: "--remove restarts nothing; leave it out"},
		{flag: "undo", with: "remove", instead: "--undo goes by setup's log, --remove by what is there; leave one of the two out"},
		{flag: "dataset", with: "undo", instead: "the log has the datasets; leave it out"},
		{flag: "sync", with: "undo", instead: "--undo sets back what setup has set; leave it out"},
		{flag: "move-data-root", with: "undo", instead: "--undo moves nothing; leave it out"},
		{flag: "way", with: "undo", instead: "the log has it; leave it out"},
		{flag: "plugin-dir", with: "undo", instead: "--undo creates no plugin; leave it out"},
		{flag: "pods", with: "undo", instead: "the log has it; leave it out"},
		{flag: "pods", with: "remove", instead: "--remove takes away whatever is there; leave it out"},
	},
	"snapshot":  datasetRules,
	"snapshots": slices.Concat(datasetRules, tableRules),
	"ls":        tableRules,
	"df":        tableRules,
	"rollback":  slices.Concat(datasetRules, []rule{{flag: "records", with: "layers-only", instead: "--layers-only leaves Docker's records as they are; leave one of the two out"}}, containerRules),
}

// refuseIgnored refuses flags that the command would ignore: their user expects an
// effect.
func refuseIgnored(command *cobra.Command, args []string) error {
	flags := command.Flags()
	for _, r := range rules[command.Name()] {
		switch {
		case !isGiven(flags, r.flag):
		case r.with != "" && isGiven(flags, r.with):
			return usagef("--%s means nothing with --%s: %s", r.flag, r.with, r.instead)
		case r.with == "dataset" && flags.Lookup("dataset").DefValue != "":
			return usagef("--%s means nothing with %s in the environment: %s", r.flag, datasetEnv, r.instead)
		case r.with == "dataset" && slices.ContainsFunc(args, hasDataset):
			return usagef("--%s means nothing with %s: %s", r.flag, args[0], r.instead)
		case r.without != "" && !isGiven(flags, r.without):
			return usagef("--%s means nothing without --%s: %s", r.flag, r.without, r.instead)
		}
	}
	return nil
}

// hasDataset reports whether a snapshot's name begins with its dataset.
func hasDataset(name string) bool { return strings.Index(name, "@") > 0 }
