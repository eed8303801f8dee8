package main

import (
	"fmt"
	"os"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

func buildCommand() *cobra.Command {
	var suite, machine string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the guest, and the kernel its machine needs, and keep them in the cache",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := vm.Open(suite)
			if err != nil {
				return err
			}
			kind, err := vm.ParseKind(machine)
			if err != nil {
				return fmt.Errorf("--machine: %w", err)
			}
			begun := time.Now()
			_, choice, err := lab.Prepare(cmd.Context(), kind, os.Stderr)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "the %s guest is ready in %s (%s)\n", suite, lab.Cache, time.Since(begun).Round(time.Second))
			fmt.Fprintln(os.Stderr, choice)
			return nil
		},
	}
	cmd.Flags().StringVar(&suite, "suite", vm.DefaultSuite, "guest to build")
	addMachine(cmd.Flags(), &machine)
	return cmd
}

func buildStepsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    vm.BuildStepsCommand + " WHAT STEP CACHE UID",
		Hidden: true,
		Args:   cobra.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error {
			return vm.BuildStepsAs(cmd.Context(), args[0], args[1], args[2], args[3], os.Stderr)
		},
	}
}
