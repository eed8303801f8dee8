package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
	"github.com/overlayzfs/overlayzfs/operator/host"
)

// packaging are commands that only a build for packaging has: build tag man.
var packaging []func() *cobra.Command

// rootCommand is the command with all its subcommands.
func rootCommand(c console) *cobra.Command {
	root := &cobra.Command{
		Use:   "overlayzfs",
		Short: "Manage a store of container layers on ZFS",
		Long: "Manage a store of container layers on ZFS.\n\n" +
			"Commands find the store and Docker's records in daemon.json and in the settings of the installed\n" +
			"plugin, or else the snapshotter's store in " + host.SnapshotterConfig + ". The global flags name\n" +
			"another store.\n\n" + exitText(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Version:           buildinfo.Text(),
		Args:              refuseUnknown,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	where := &storeFlags{}
	where.register(root.PersistentFlags(), c)
	addGroups(root, c, where)
	root.AddCommand(versionCommand(c))
	for _, command := range packaging {
		root.AddCommand(command())
	}
	root.Args = asUsage(root.Args)
	for _, command := range root.Commands() {
		command.Args, command.PreRunE = asUsage(command.Args), refuseIgnored
		cobra.CheckErr(completeValues(command))
	}
	cobra.CheckErr(completeStoreFlags(root))
	root.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
	return root
}

// addGroups adds the commands as help shows them. Commands without a group come last.
func addGroups(root *cobra.Command, c console, where *storeFlags) {
	for _, group := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"look", "Look at a store:", []*cobra.Command{
			lsCommand(c, where), treeCommand(c, where), dfCommand(c, where), inspectCommand(c, where), verifyCommand(c, where), snapshotsCommand(c, where),
		}},
		{"change", "Change a store:", []*cobra.Command{limitCommand(c, where), gcCommand(c, where), snapshotCommand(c, where), rollbackCommand(c, where)}},
		{"move", "Move images and containers:", []*cobra.Command{sendCommand(c, where), receiveCommand(c, where), migrateCommand(c, where)}},
		{"backup", "Back up and restore:", []*cobra.Command{backupCommand(c, where), restoreCommand(c, where)}},
		{"setup", "Set up a host:", []*cobra.Command{setupCommand(c, where), doctorCommand(c, where), pluginCommand(c, where)}},
	} {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, command := range group.commands {
			command.GroupID = group.id
			root.AddCommand(command)
		}
	}
}

// versionCommand prints what --version prints.
func versionCommand(c console) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version and the commit it was built from, as --version does.",
		Example: "  overlayzfs version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.out, "overlayzfs version %s\n", buildinfo.Text())
			return err
		},
	}
}

// refuseUnknown refuses the name of no command, and suggests those alike.
// cobra.NoArgs on a root command suggests nothing.
func refuseUnknown(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	command.SuggestionsMinimumDistance = min(2, len(args[0])/2) // letters; two of two would suggest anything
	advice := fmt.Sprintf("`%s --help` lists the commands", command.CommandPath())
	if alike := command.SuggestionsFor(args[0]); len(alike) > 0 {
		advice = fmt.Sprintf("did you mean %s?", strings.Join(alike, " or "))
	}
	return fmt.Errorf("unknown command %q; %s", args[0], advice)
}

// noArgs refuses arguments.
func noArgs(command *cobra.Command, args []string) error { return checkArgs(command, args, 0, 0) }

// oneArg requires the one argument that the usage line names.
func oneArg(command *cobra.Command, args []string) error { return checkArgs(command, args, 1, 1) }

// someArgs requires the argument that the usage line names, and takes more of them.
func someArgs(command *cobra.Command, args []string) error {
	return checkArgs(command, args, 1, max(1, len(args)))
}

// optionalArg takes one argument at most.
func optionalArg(command *cobra.Command, args []string) error { return checkArgs(command, args, 0, 1) }

// checkArgs requires least to most arguments. Its error names the argument that is
// missing, as the usage line does, or the first that is too many.
func checkArgs(command *cobra.Command, args []string, least, most int) error {
	switch {
	case len(args) < least:
		return fmt.Errorf("missing argument %s; usage: %s", strings.Fields(command.Use)[1+len(args)], command.UseLine())
	case len(args) > most:
		return fmt.Errorf("unexpected argument %q; usage: %s", args[most], command.UseLine())
	}
	return nil
}

// asUsage makes the error of a check one of a command that was called wrongly.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
