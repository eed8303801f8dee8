package main

import (
	"fmt"
	"os"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

func buildCommand() *cobra.Command {
	var suite string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the guest and keep it in the cache",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := vm.Open(suite)
			if err != nil {
				return err
			}
			begun := time.Now()
			if _, err := lab.Build(cmd.Context(), os.Stderr); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "the %s guest is ready in %s (%s)\n", suite, lab.Cache, time.Since(begun).Round(time.Second))
			return nil
		},
	}
	cmd.Flags().StringVar(&suite, "suite", vm.DefaultSuite, "guest to build")
	return cmd
}

func buildStepsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    vm.BuildStepsCommand + " SUITE CACHE UID",
		Hidden: true,
		Args:   cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return vm.BuildStepsAs(cmd.Context(), args[0], args[1], args[2], os.Stderr)
		},
	}
}
