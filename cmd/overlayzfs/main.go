// Command overlayzfs is the operator's command: what an administrator does to
// a store of layers by hand.
//
// Each subcommand has a file of its own. What they do lives in the packages
// below; here are flags, questions and output.
//
// # Exit codes
//
//	0  done
//	1  it failed
//	2  it was called wrongly
//	3  it was refused, and has changed nothing
//	4  it stopped half-way, and has to be run again
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// The exit codes besides 0.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitRefused    = 3
	exitUnfinished = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// console is what a command talks to.
type console struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
}

// run is main with everything it touches passed in; it returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	root := rootCommand(c)
	root.SetArgs(append([]string{}, args...)) // of nil it would take the process's own
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(c.err, "overlayzfs:", fault.Text(err))
	}
	return exitCode(err)
}

func rootCommand(c console) *cobra.Command {
	root := &cobra.Command{
		Use:   "overlayzfs",
		Short: "Look after a store of container layers on ZFS",
		Long: "Look after a store of container layers on ZFS.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 called wrongly, 3 refused with nothing changed,\n4 stopped half-way: run it again.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionText(),
		Args:          cobra.NoArgs,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(snapshotsCommand(c), snapshotCommand(c), rollbackCommand(c))
	for _, command := range root.Commands() {
		command.Args = asUsage(command.Args)
	}
	root.Args = asUsage(root.Args)
	root.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
	return root
}

// usageError is a command that was called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, snapshot.ErrUnfinished):
		return exitUnfinished
	case errors.Is(err, snapshot.ErrRefused), errors.Is(err, errNotAgreed):
		return exitRefused
	}
	return exitFailed
}
