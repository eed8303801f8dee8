package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

func holdCommand() *cobra.Command {
	var processors int
	cmd := &cobra.Command{
		Use:   "hold [flags] COMMAND [args…]",
		Short: "Run a command that holds processors for its machines",
		Long: `Run a command that holds processors of this host. It waits until they are free.
The machines of the command take these processors, so that none of them waits
while the command's own time limit runs.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			waiting := func() {
				fmt.Fprintln(os.Stderr, "ozlab: waiting for a processor: other machines of the lab hold all")
			}
			claim, err := vm.ClaimProcessors(cmd.Context(), processors, waiting)
			if err != nil {
				return err
			}
			defer claim.Release()
			child := exec.CommandContext(cmd.Context(), args[0], args[1:]...)
			child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
			child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
			child.Env = append(os.Environ(), vm.ProcessorsVariable+"="+claim.String())
			err = child.Run()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				return exitCode(exit.ExitCode())
			}
			return err
		},
	}
	cmd.Flags().IntVar(&processors, "processors", 1, "how many to hold, as far as the host has them")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func machineCommand() *cobra.Command {
	var suite, machine string
	var soon bool
	cmd := &cobra.Command{
		Use:   "machine",
		Short: "Print the kind of machine that a guest gets here, and build what it needs",
		Long: `Print the kind of machine that a guest gets here, and on standard error why. What
such a machine needs is built, as "ozlab build" does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, err := vm.Open(suite)
			if err != nil {
				return err
			}
			prepare := func(ctx context.Context, out io.Writer) (*vm.Guest, vm.Choice, error) {
				return lab.Prepare(ctx, vm.Kind(machine), out)
			}
			if soon {
				prepare = lab.PrepareSoon
			}
			_, choice, err := prepare(cmd.Context(), os.Stderr)
			if err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, choice)
			fmt.Println(choice.Kind)
			return nil
		},
	}
	cmd.Flags().StringVar(&suite, "suite", vm.DefaultSuite, "guest to boot")
	cmd.Flags().BoolVar(&soon, "soon", false, "the kind that takes the least to build instead of the best")
	addMachine(cmd.Flags(), &machine)
	return cmd
}
