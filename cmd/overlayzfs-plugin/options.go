package main

import (
	"errors"
	"io"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// The environment that config.json declares; `docker plugin set` changes it.
const (
	envLogLevel = "OVERLAYZFS_LOG_LEVEL"
	envOpts     = "OVERLAYZFS_OPTS"
)

const (
	// defaultSocket is where the engine looks, by the name in config.json.
	defaultSocket = "/run/docker/plugins/overlayzfs.sock"
	// defaultState lies in the propagated mount, beside the home: on the
	// host's disk, where `docker plugin upgrade` leaves it.
	defaultState = "/var/lib/overlayzfs/" + plugin.StateName
	// defaultLevel is high because the engine logs every line as an error.
	defaultLevel = logrus.WarnLevel
)

// noIDMaps is why Init with ID maps is refused. The driver could map owners;
// what containers start from lies out of their reach.
const noIDMaps = "userns-remap does not work with a managed plugin: the engine keeps plugins' mounts below a directory only root may enter, " +
	"and a container's runtime that is root in a user namespace only cannot reach its layers; start dockerd without userns-remap"

// options are what flags and environment say.
type options struct {
	socket      string
	state       string
	driver      []string // storage options below the engine's own
	metrics     metrics.Address
	level       logrus.Level
	showVersion bool
}

// parseOptions reads flags, which win, and the environment.
func parseOptions(args []string, getenv func(string) string, usage io.Writer) (options, error) {
	o := options{level: defaultLevel}
	level := defaultLevel.String()
	if v := getenv(envLogLevel); v != "" {
		level = v
	}
	flags := pflag.NewFlagSet("overlayzfs-plugin", pflag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.socket, "socket", defaultSocket, "unix socket to listen on")
	flags.StringVar(&o.state, "state", defaultState, "file that keeps the engine's parameters for a restart")
	flags.StringVar(&level, "log-level", level, "error, warn, info or debug ("+envLogLevel+")")
	flags.StringArrayVar(&o.driver, "opt", overlayzfs.SplitOptions(getenv(envOpts)), "storage option, below the engine's own; repeatable ("+envOpts+", separated by commas)")
	address := flags.String("metrics", getenv(metrics.EnvAddress), "serve Prometheus metrics on unix:/PATH or a loopback IP:PORT ("+metrics.EnvAddress+")")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, errUnexpected(flags.Args())
	}
	var badLevel, badAddress error
	o.level, badLevel = logrus.ParseLevel(level)
	o.metrics, badAddress = metrics.ParseAddress(*address)
	return o, errors.Join(badLevel, badAddress)
}

type errUnexpected []string

// Error names what was not expected.
func (e errUnexpected) Error() string { return "unexpected arguments: " + strings.Join(e, " ") }
