// Command ozlab runs programs as root in the project's virtual machines. What
// it does lives in integration/vm; here are only its command line and exit
// codes: the program's own, 124 when the time limit struck, 125 when the
// machine failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

const (
	exitTimeout = 124
	exitMachine = 125
)

// exitCode is the exit code of the program in the guest, as an error.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := rootCommand().ExecuteContext(ctx)
	stop()
	os.Exit(report(err))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "ozlab",
		Short:         "Run tests as root in a virtual machine with OpenZFS and Docker",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(buildCommand(), buildStepsCommand(), execCommand(), runCommand(), shellCommand(), suitesCommand(), packagesCommand(), holdCommand(), machineCommand())
	return root
}

// report prints an error and returns the exit code for it.
func report(err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, vm.ErrTimeLimit):
		fmt.Fprintln(os.Stderr, "ozlab:", err)
		return exitTimeout
	}
	fmt.Fprintln(os.Stderr, "ozlab:", err)
	return exitMachine
}
