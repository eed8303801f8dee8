// Command overlayzfs-snapshotter is containerd's snapshotter on one ZFS dataset: a daemon
// that reads its configuration, serves the snapshots API on a unix socket, and reports
// its status to systemd.
//
// Package snapshotter has the protocol and package overlayzfs the layers; this package
// connects them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs/storemetrics"
	"github.com/overlayzfs/overlayzfs/snapshotter"
)

// The exit codes besides 0.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main for tests: it takes the environment and streams, and returns the exit
// code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	f, err := parseFlags(args, getenv, stderr)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "overlayzfs-snapshotter:", err)
		return exitUsage
	case f.showVersion:
		fmt.Fprintln(stdout, "overlayzfs-snapshotter", buildinfo.Text())
		return 0
	}
	c, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "overlayzfs-snapshotter:", err)
		return exitUsage
	}
	if f.check {
		return 0
	}
	log := setUpLog(c.level, stderr)
	if err := serve(ctx, c, log); err != nil {
		log.WithError(err).Error("cannot serve; the snapshotter ends")
		return exitFailed
	}
	return 0
}

// setUpLog configures the standard logger, which all packages use. Lines have no time,
// because the journal adds it.
func setUpLog(level logrus.Level, w io.Writer) *logrus.Logger {
	log := logrus.StandardLogger()
	log.SetOutput(w)
	log.SetLevel(level)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	return log
}

func serve(ctx context.Context, c config, log *logrus.Logger) error {
	l, err := listen(c.socket)
	if err != nil {
		return err
	}
	log.WithFields(logrus.Fields{"socket": c.socket, "version": buildinfo.Text()}).Info("listening")
	counts := metrics.New(metrics.Build{Version: buildinfo.Version(), Commit: buildinfo.Commit()}, log)
	defer counts.Start(c.metrics)()
	c.options.Store.Observer = storemetrics.New(counts, log)
	server := snapshotter.NewServer(log)
	server.Observe = counts.Call
	server.Notify = notifyStore(log)
	stopSent := make(chan struct{})
	context.AfterFunc(ctx, func() { defer close(stopSent); notifySystemd(log, daemon.SdNotifyStopping) })
	err = server.Serve(ctx, l, newOpener(c.options, log))
	if ctx.Err() != nil {
		<-stopSent // before the process ends
	}
	return err
}

// newOpener returns what opens the store. Its errors can be of the configuration, so they
// name settings as the file does.
func newOpener(o snapshotter.Options, log *logrus.Logger) func(context.Context) (snapshotter.Backend, error) {
	open := snapshotter.Opener(o, log)
	return func(ctx context.Context) (snapshotter.Backend, error) {
		b, err := open(ctx)
		return b, renameSettings(err)
	}
}
