// Command overlayzfs is the operator's command: what an administrator does to
// a store of layers by hand. Under the name docker-overlayzfs it is a plugin of
// Docker's command line, `docker overlayzfs …`.
//
// Each subcommand has a file of its own. What they do lives in the packages
// below; here are flags, questions and output. Help, shell completion and manual
// pages come from the same definitions; a test compares docs/ with them.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), ending()...)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	c := console{os.Stdin, os.Stdout, os.Stderr, os.Getenv, lockFile, dockerconf.DefaultFile}
	command := rootCommand
	if filepath.Base(os.Args[0]) == pluginName {
		command = dockerCommand
	}
	os.Exit(execute(ctx, command(c), os.Args[1:], c))
}

// ending are the signals at which a command stops and cleans up. A terminal that
// is closed is one of them, but for a command that was started with nohup.
func ending() []os.Signal {
	signals := []os.Signal{unix.SIGTERM, unix.SIGINT}
	if !signal.Ignored(unix.SIGHUP) {
		signals = append(signals, unix.SIGHUP)
	}
	return signals
}

// console is what a command talks to.
type console struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	lock   string // file that changing commands lock
	config string // Docker's daemon.json
}

// run is main with everything it touches passed in; it returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	return execute(ctx, rootCommand(c), args, c)
}

func execute(ctx context.Context, root *cobra.Command, args []string, c console) int {
	// What the driver warns of at a start is for dockerd's log. A command that opens a
	// store says by itself what its reader has to know.
	logrus.SetLevel(logrus.ErrorLevel)
	root.SetArgs(append([]string{}, args...)) // of nil it would take the process's own
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(c.err, "overlayzfs:", fault.Text(err))
	}
	return exitCode(err)
}
