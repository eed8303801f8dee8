package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// The variables that config.json declares and `docker plugin set` changes.
const (
	envLogLevel = "OVERLAYZFS_LOG_LEVEL"
	envOpts     = "OVERLAYZFS_OPTS"
)

const (
	// defaultSocket is where the engine expects the socket that config.json names.
	defaultSocket = "/run/docker/plugins/overlayzfs.sock"
	// defaultState lies in the propagated mount, beside the store's home. That is on
	// the host's disk, and `docker plugin upgrade` keeps it.
	defaultState = "/var/lib/overlayzfs/" + plugin.StateName
	// defaultLevel is warn because the engine logs every line as an error.
	defaultLevel = logrus.WarnLevel
)

// idMapsRefusal is the answer to Init with ID maps. The driver could map owners, but a
// container's runtime could not reach its layers.
const idMapsRefusal = "userns-remap does not work with a managed plugin: the engine keeps plugins' mounts below a directory that only root may enter, " +
	"and a runtime that is root in a user namespace only cannot reach its layers; start dockerd without userns-remap"

// options are the values of flags and environment.
type options struct {
	socket      string
	state       string
	driver      []string // storage options; the engine's own win over them
	metrics     metrics.Address
	level       logrus.Level
	showVersion bool
}

// parseOptions reads the environment, and flags, which win over it.
func parseOptions(args []string, getenv func(string) string, usage io.Writer) (options, error) {
	o := options{level: defaultLevel}
	level := defaultLevel.String()
	if v := getenv(envLogLevel); v != "" {
		level = v
	}
	flags := pflag.NewFlagSet("overlayzfs-plugin", pflag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.socket, "socket", defaultSocket, "unix socket to listen on")
	flags.StringVar(&o.state, "state", defaultState, "file that keeps the engine's parameters across restarts")
	flags.StringVar(&level, "log-level", level, "error, warn, info or debug (env "+envLogLevel+")")
	flags.StringArrayVar(&o.driver, "opt", overlayzfs.SplitOptions(getenv(envOpts)), "storage option; the engine's own win over it; repeatable (env "+envOpts+", separated by commas)")
	address := flags.String("metrics", getenv(metrics.EnvAddress), "serve Prometheus metrics on unix:/PATH or a loopback IP:PORT (env "+metrics.EnvAddress+")")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected arguments: %s", strings.Join(flags.Args(), " "))
	}
	var badLevel, badAddress error
	o.level, badLevel = logrus.ParseLevel(level)
	o.metrics, badAddress = metrics.ParseAddress(*address)
	return o, errors.Join(badLevel, badAddress)
}
