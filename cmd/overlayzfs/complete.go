package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// values are what flags take, by their names; of those with none here nothing is known
// that a shell could offer. What is left out takes a file.
var values = map[string][]cobra.Completion{
	"way": {"plugin", "snapshotter"}, "sync": {"standard", "disabled"}, "to": {"overlay2", "zfs"},
	"dataset": nil, "zfs-dataset": nil, "records": nil, "driver": nil, "host": nil, "opt": nil,
}

// origins are what --from takes: a driver, or what a stream goes on from.
var origins = map[string][]cobra.Completion{"migrate": {"overlay2", "zfs", "vfs", "btrfs"}, "send": {"last"}}

// completes has a shell offer what a command takes, and no files where it takes none.
// It is the shell that compares that with what was typed. An error is a mistake here.
func completes(command *cobra.Command) error {
	if command.ValidArgsFunction == nil {
		command.ValidArgsFunction = cobra.NoFileCompletions
	}
	offered := map[string][]cobra.Completion{"from": origins[command.Name()]}
	for name, known := range values {
		offered[name] = known
	}
	for name, known := range offered {
		if command.Flags().Lookup(name) == nil {
			continue
		}
		if err := command.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	if command.Flags().Lookup("root") == nil {
		return nil
	}
	return command.MarkFlagDirname("root")
}

// offerSnapshots are the snapshots to go back to, the newest first. What cannot be
// found out is not offered: there is nobody to be told.
func (p *place) offerSnapshots(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	infos, err := p.snapshots()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, s := range slices.Backward(infos) {
		names = append(names, s.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// offerOne are the images and containers that Docker knows, for commands that take one.
func (p *place) offerOne(command *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.offerMany(command, args, typed)
}

// offerMany are those that were not named yet.
func (p *place) offerMany(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	records, err := p.records()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	offer := func(name, what string) {
		if name != "" && !slices.Contains(args, name) {
			names = append(names, cobra.CompletionWithDesc(name, what))
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

// records are Docker's, without the store.
func (p *place) records() (*dockerstore.Records, error) {
	s, err := p.find()
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
