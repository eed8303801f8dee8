package main

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

func suitesCommand() *cobra.Command {
	return &cobra.Command{
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
				lines = suite.Tiers
			}
			for _, line := range lines {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			return nil
		},
	}
}
