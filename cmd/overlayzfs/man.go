//go:build man

package main

import (
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/cmd/overlayzfs/manual"
)

func init() { packaging = append(packaging, manCommand) }

// manCommand writes the manual pages: `make man`.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages of all commands to a directory",
		Hidden: true,
		Args:   oneArg,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(command *cobra.Command, args []string) error {
			return manual.Write(command.Root(), args[0])
		},
	}
}
