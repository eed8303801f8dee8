package main

import (
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

// bootAllowance is what a machine may need beyond the test binary's own limit.
const bootAllowance = 2 * time.Minute

func execCommand() *cobra.Command {
	flags := &machineFlags{}
	cmd := &cobra.Command{
		Use:   "exec [flags] TESTBINARY [args…]",
		Short: `Run a test binary in the guest: go test -exec "ozlab exec" ./pkg`,
		Long: `Run a test binary as root in the guest, with the testdata of the current
directory. Without --timeout the limit follows the binary's own -test.timeout.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit, found := vm.TestTimeout(args[1:]); found && !cmd.Flags().Changed("timeout") {
				flags.timeout = limit + bootAllowance
			}
			dir, err := filepath.Abs(".")
			if err != nil {
				return err
			}
			return flags.run(cmd.Context(), vm.TestJob(args[0], args[1:], dir), false)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().SetInterspersed(false) // what follows the binary is its own
	return cmd
}
