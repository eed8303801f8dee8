package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// flagValues are the values that a shell offers for flags, by the flags' names. A
// flag with nil takes a value that nobody can list. A flag without an entry takes a
// file.
var flagValues = map[string][]cobra.Completion{
	"way": {"plugin", "snapshotter"}, "sync": {"standard", "disabled"}, "to": {"overlay2", "zfs"},
	"zfs-dataset": nil, "records": nil, "host": nil, "opt": nil, "size": nil, "inodes": nil, "namespace": {"k8s.io", "moby"},
}

// fromValues are the values of --from: a driver for migrate, a snapshot for send.
var fromValues = map[string][]cobra.Completion{"migrate": {"overlay2", "zfs", "vfs", "btrfs"}, "send": {"last"}}

// completeValues makes a shell offer the values of a command's own flags, and no
// files as arguments of a command that takes none. An error is a mistake in this
// program.
func completeValues(command *cobra.Command) error {
	if command.ValidArgsFunction == nil {
		command.ValidArgsFunction = cobra.NoFileCompletions
	}
	offered := map[string][]cobra.Completion{"from": fromValues[command.Name()]}
	for name, known := range flagValues {
		offered[name] = known
	}
	if flag := command.Flags().Lookup("columns"); flag != nil {
		offered["columns"] = flag.Value.(choice).known
	}
	if command.Flags().Lookup("containerd-root") != nil {
		if err := command.MarkFlagDirname("containerd-root"); err != nil {
			return err
		}
	}
	for name, known := range offered {
		if command.Flags().Lookup(name) == nil {
			continue
		}
		if err := command.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	return nil
}

// completeStoreFlags makes a shell offer directories for --root, files for
// --config-file, and nothing for the other global flags.
func completeStoreFlags(root *cobra.Command) error {
	return errors.Join(
		root.RegisterFlagCompletionFunc("dataset", cobra.NoFileCompletions),
		root.RegisterFlagCompletionFunc("driver", cobra.NoFileCompletions),
		root.MarkPersistentFlagDirname("root"),
	)
}

// offerSnapshots returns the snapshots to roll back to, the newest first. It offers
// nothing on an error: a shell shows none.
func (f *storeFlags) offerSnapshots(command *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.offerOtherSnapshots(command, args, typed)
}

// offerOtherSnapshots returns the snapshots that args do not name yet, the newest first.
func (f *storeFlags) offerOtherSnapshots(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	infos, err := f.listSnapshots()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, s := range slices.Backward(infos) {
		if !slices.Contains(args, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// offerOneName returns Docker's images and containers, for a command that takes one.
func (f *storeFlags) offerOneName(command *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.offerNames(command, args, typed)
}

// offerNames returns Docker's images and containers that args do not name yet.
func (f *storeFlags) offerNames(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	records, err := f.readRecords()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	offer := func(name, kind string) {
		if name != "" && !slices.Contains(args, name) {
			names = append(names, cobra.CompletionWithDesc(name, kind))
		}
	}
	for _, image := range records.Images {
		for _, tag := range image.Tags {
			offer(tag, "image")
		}
	}
	for _, container := range records.Containers {
		offer(container.Name, "container")
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// offerOneContainer returns Docker's containers, for a command that takes one.
func (f *storeFlags) offerOneContainer(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	records, err := f.readRecords()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, container := range records.Containers {
		if container.Name != "" {
			names = append(names, container.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// readRecords reads Docker's records and leaves the store alone.
func (f *storeFlags) readRecords() (*dockerstore.Records, error) {
	s, err := f.locate()
	if err != nil {
		return nil, err
	}
	docker, err := dockerstore.Open(s.Root)
	if err != nil {
		return nil, err
	}
	records, err := docker.Read(s.Driver)
	return records, errors.Join(err, docker.Close())
}
