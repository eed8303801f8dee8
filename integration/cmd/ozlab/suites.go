package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

func suitesCommand() *cobra.Command {
	var lists []string
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
				if lines, err = tiers(suite.Tiers, lists); err != nil {
					return err
				}
			}
			for _, line := range lines {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			return nil
		},
	}
	command.Flags().StringSliceVar(&lists, "tiers", []string{"fast"}, "lists of tiers: fast, stock, slow, long")
	return command
}

func packagesCommand() *cobra.Command {
	var suite string
	command := &cobra.Command{
		Use:   "packages",
		Short: "Fetch the packages that some of a guest's tests need, and print their directory",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := vm.Open(suite)
			if err != nil {
				return err
			}
			dir, err := lab.Packages(cmd.Context(), os.Stderr)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
			return err
		},
	}
	command.Flags().StringVar(&suite, "suite", vm.DefaultSuite, "guest whose packages to fetch")
	return command
}

// tiers are the lists' tiers, each once.
func tiers(all vm.Tiers, lists []string) ([]string, error) {
	named := map[string][]string{"fast": all.Fast, "stock": all.Stock, "slow": all.Slow, "long": all.Long}
	var tiers []string
	for _, list := range lists {
		more, known := named[list]
		if !known {
			return nil, fmt.Errorf("--tiers %s: want fast, stock, slow or long", list)
		}
		for _, tier := range more {
			if !slices.Contains(tiers, tier) {
				tiers = append(tiers, tier)
			}
		}
	}
	return tiers, nil
}
