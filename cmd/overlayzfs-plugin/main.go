// Command overlayzfs-plugin is the only process of the managed Docker plugin. It turns
// flags and environment into options, and serves the GraphDriver protocol on a unix
// socket until a signal stops it.
//
// Package plugin has the protocol and package overlayzfs the layers; this package
// connects them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs/storemetrics"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// The exit codes besides 0.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// Standard error is a pipe to an engine that may die first. A log line that nobody
	// reads must not end this process.
	signal.Ignore(unix.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main for tests: it takes the environment and streams, and returns the exit
// code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, getenv, stderr)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "overlayzfs-plugin:", err)
		return exitUsage
	case o.showVersion:
		fmt.Fprintln(stdout, "overlayzfs-plugin", buildinfo.Text())
		return 0
	}
	log := setUpLog(o.level, stderr)
	if err := serve(ctx, o, log); err != nil {
		log.WithError(err).Error("cannot serve; the plugin ends")
		return exitFailed
	}
	return 0
}

func serve(ctx context.Context, o options, log *logrus.Logger) error {
	l, err := plugin.Listen(o.socket)
	if err != nil {
		return err
	}
	counts := metrics.New(metrics.Build{Version: buildinfo.Version(), Commit: buildinfo.Commit()}, log)
	if o.metrics.Alone() {
		log.WithField("metrics", o.metrics.String()).Warn("the host cannot reach metrics on the loopback of a managed plugin, which has its own network: use unix:/run/docker/plugins/metrics.sock")
	}
	defer counts.Start(o.metrics)()
	server := plugin.NewServer(plugin.StoreOpener(o.driver, storemetrics.New(counts, log)), o.state, log)
	server.Observe = counts.Call
	server.RefuseIDMaps = idMapsRefusal
	server.Stale = func(err error) {
		log.WithError(err).Error("the plugin no longer sees the host's mounts: the process ends, and the engine starts it again")
		os.Exit(exitFailed)
	}
	log.WithFields(logrus.Fields{"socket": o.socket, "version": buildinfo.Text()}).Info("listening")
	return server.Serve(ctx, l)
}
