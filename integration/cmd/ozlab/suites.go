package main

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

func suitesCommand() *cobra.Command {
	var long bool
	command := &cobra.Command{
		Use:   "suites [SUITE]",
		Short: "List the guests, or the test tiers of one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lines := vm.SuiteNames()
			if len(args) > 0 {
				suite, err := vm.LoadSuite(args[0])
				if err != nil {
					return err
				}
				if lines = suite.Tiers; long {
					lines = append(lines, suite.Long...)
				}
			}
			for _, line := range lines {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			return nil
		},
	}
	command.Flags().BoolVar(&long, "long", false, "list the tiers too that only a run of everything has")
	return command
}
