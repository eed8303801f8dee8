// Command overlayzfs is the operator's command: it examines, changes and moves a store
// of layers. Under the name docker-overlayzfs it is a plugin of Docker's command line,
// `docker overlayzfs …`.
//
// Each subcommand has a file: flags, questions and output. The packages of operator/ do
// the work, except that snapshot, snapshots and rollback call package snapshot directly. Help, shell completion and manual pages come from the same definitions, and
// a test compares docs/ with them.
//
//	main.go, root.go, exit.go   the process, the command tree, the exit codes
//	storeflags.go, store.go     the global flags, and the store they name
//	flagvalue.go, flagrules.go  values of flags, and flags that exclude each other
//	table.go, output.go         tables for people and scripts, JSON
//	confirm.go, progress.go     questions, progress bars
//	lock.go                     the lock of commands that change something
//	complete.go, docker.go      shell completion, Docker's command line
//	man.go, manual/             manual pages, in a build with the tag man
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	c := console{os.Stdin, os.Stdout, os.Stderr, os.Getenv, lockFile, dockerconf.DefaultFile}
	command := rootCommand
	if filepath.Base(os.Args[0]) == pluginName {
		command = dockerCommand
	}
	os.Exit(execute(ctx, command(c), os.Args[1:], c))
}

// endSignals are the signals at which a command cleans up and stops. The hang-up of a
// terminal is one of them, unless nohup started the command.
func endSignals() []os.Signal {
	signals := []os.Signal{unix.SIGTERM, unix.SIGINT}
	if !signal.Ignored(unix.SIGHUP) {
		signals = append(signals, unix.SIGHUP)
	}
	return signals
}

// console is a command's surroundings: its streams, its environment, and the files it
// shares with other programs.
type console struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	lock   string // file that commands lock to change something
	config string // Docker's daemon.json
}

// run is main for tests: it takes the console, and returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	return execute(ctx, rootCommand(c), args, c)
}

func execute(ctx context.Context, root *cobra.Command, args []string, c console) int {
	// The driver's warnings at a start are for dockerd's log. A command tells its user
	// what matters.
	logrus.SetLevel(logrus.ErrorLevel)
	root.SetArgs(append([]string{}, args...)) // for nil cobra takes the arguments of the process
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(c.err, "overlayzfs:", errorText(err, os.Geteuid()))
	}
	return exitCode(err)
}

// errorText is an error for a person, with the remedy of its class. A user without
// privileges is told to become root, which the remedy of a device says already.
func errorText(err error, uid int) string {
	text := fault.Text(err)
	if uid != 0 && errors.Is(err, fs.ErrPermission) && !strings.Contains(text, "as root") {
		text += "; run it as root"
	}
	return text
}
