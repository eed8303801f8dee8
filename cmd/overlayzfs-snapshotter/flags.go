package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
)

// defaultConfig is read if it exists. A file that --config names has to exist.
const defaultConfig = "/etc/overlayzfs/snapshotter.toml"

// flags are the values of the command line and the environment. They win over the file.
type flags struct {
	config      string
	configGiven bool
	override    settings
	given       map[string]bool
	check       bool
	showVersion bool
}

func parseFlags(args []string, getenv func(string) string, usage io.Writer) (flags, error) {
	f := flags{given: map[string]bool{}}
	set := pflag.NewFlagSet("overlayzfs-snapshotter", pflag.ContinueOnError)
	set.SetOutput(usage)
	set.StringVarP(&f.config, "config", "c", defaultConfig, "configuration file")
	set.StringVar(&f.override.Socket, "socket", defaultSocket, "unix socket to listen on")
	set.StringVar(&f.override.Root, "root", defaultRoot, "directory of the store")
	set.StringVar(&f.override.Store.Dataset, "dataset", "", "dataset to mount on the root")
	set.StringVar(&f.override.LogLevel, "log-level", defaultLevel, "error, warn, info or debug")
	set.StringVar(&f.override.Metrics, "metrics", getenv(metrics.EnvAddress), "serve Prometheus metrics on unix:/PATH or a loopback IP:PORT (env "+metrics.EnvAddress+")")
	set.BoolVar(&f.check, "check", false, "check the configuration, print errors, and exit")
	set.BoolVar(&f.showVersion, "version", false, "print the version and exit")
	if err := set.Parse(args); err != nil {
		return flags{}, err
	}
	if set.NArg() > 0 {
		return flags{}, fmt.Errorf("unexpected arguments: %s", strings.Join(set.Args(), " "))
	}
	set.Visit(func(flag *pflag.Flag) { f.given[flag.Name] = true })
	f.configGiven = f.given["config"]
	f.given["metrics"] = f.given["metrics"] || f.override.Metrics != ""
	return f, nil
}

// load reads the file and applies the flags to it.
func (f flags) load() (config, error) {
	s := defaults()
	raw, err := os.ReadFile(f.config)
	switch {
	case err == nil:
		if s, err = decode(raw); err != nil {
			return config{}, fmt.Errorf("%s: %w", f.config, err)
		}
	case f.configGiven || !errors.Is(err, fs.ErrNotExist):
		return config{}, err
	}
	f.apply(&s)
	c, err := s.config()
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

// apply overwrites the settings that flags give.
func (f flags) apply(s *settings) {
	for name, set := range map[string]func(){
		"socket":    func() { s.Socket = f.override.Socket },
		"root":      func() { s.Root = f.override.Root },
		"dataset":   func() { s.Store.Dataset = f.override.Store.Dataset },
		"log-level": func() { s.LogLevel = f.override.LogLevel },
		"metrics":   func() { s.Metrics = f.override.Metrics },
	} {
		if f.given[name] {
			set()
		}
	}
}
