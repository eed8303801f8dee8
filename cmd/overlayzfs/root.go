package main

import (
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
)

// packaging are commands that only a build for packaging has: build tag man.
var packaging []func() *cobra.Command

// rootCommand is the command with all below it.
func rootCommand(c console) *cobra.Command {
	root := &cobra.Command{
		Use:   "overlayzfs",
		Short: "Look after a store of container layers on ZFS",
		Long: "Look after a store of container layers on ZFS.\n\n" +
			"Commands find the store and Docker's records by themselves: in daemon.json and in the settings of\n" +
			"the installed plugin.\n\n" + exitText(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Version:           buildinfo.Text(),
		Args:              cobra.NoArgs,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(migrateCommand(c))
	root.AddCommand(
		lsCommand(c), treeCommand(c), dfCommand(c), inspectCommand(c), verifyCommand(c), gcCommand(c), doctorCommand(c),
		setupCommand(c), sendCommand(c), receiveCommand(c), snapshotsCommand(c), snapshotCommand(c), rollbackCommand(c),
	)
	for _, command := range packaging {
		root.AddCommand(command())
	}
	for _, command := range root.Commands() {
		command.Args, command.PreRunE = asUsage(command.Args), refuseIgnored
		cobra.CheckErr(completes(command))
	}
	root.Args = asUsage(root.Args)
	root.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
	return root
}

func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
