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

// defaultConfig is read when it is there; a file that was named has to be.
const defaultConfig = "/etc/overlayzfs/snapshotter.toml"

// flags are what stands on the command line, or in the environment. They win
// over the file.
type flags struct {
	config      string
	named       bool // --config was given
	over        settings
	set         map[string]bool
	check       bool
	showVersion bool
}

func parseFlags(args []string, getenv func(string) string, usage io.Writer) (flags, error) {
	f := flags{set: map[string]bool{}}
	set := pflag.NewFlagSet("overlayzfs-snapshotter", pflag.ContinueOnError)
	set.SetOutput(usage)
	set.StringVarP(&f.config, "config", "c", defaultConfig, "configuration file")
	set.StringVar(&f.over.Socket, "socket", defaultSocket, "unix socket to listen on")
	set.StringVar(&f.over.Root, "root", defaultRoot, "directory of the store")
	set.StringVar(&f.over.Store.Dataset, "dataset", "", "dataset to mount on the root")
	set.StringVar(&f.over.LogLevel, "log-level", defaultLevel, "error, warn, info or debug")
	set.StringVar(&f.over.Metrics, "metrics", getenv(metrics.EnvAddress), "serve Prometheus metrics on unix:/PATH or a loopback IP:PORT ("+metrics.EnvAddress+")")
	set.BoolVar(&f.check, "check", false, "read the configuration, say what is wrong with it, and exit")
	set.BoolVar(&f.showVersion, "version", false, "print the version and exit")
	if err := set.Parse(args); err != nil {
		return flags{}, err
	}
	if set.NArg() > 0 {
		return flags{}, fmt.Errorf("unexpected arguments: %s", strings.Join(set.Args(), " "))
	}
	set.Visit(func(flag *pflag.Flag) { f.set[flag.Name] = true })
	f.named = f.set["config"]
	f.set["metrics"] = f.set["metrics"] || f.over.Metrics != ""
	return f, nil
}

// load reads the file and puts the flags over it.
func (f flags) load() (config, error) {
	s := defaults()
	raw, err := os.ReadFile(f.config)
	switch {
	case err == nil:
		if s, err = decode(raw); err != nil {
			return config{}, fmt.Errorf("%s: %w", f.config, err)
		}
	case f.named || !errors.Is(err, fs.ErrNotExist):
		return config{}, err
	}
	f.apply(&s)
	c, err := s.config()
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

func (f flags) apply(s *settings) {
	for name, over := range map[string]func(){
		"socket":    func() { s.Socket = f.over.Socket },
		"root":      func() { s.Root = f.over.Root },
		"dataset":   func() { s.Store.Dataset = f.over.Store.Dataset },
		"log-level": func() { s.LogLevel = f.over.LogLevel },
		"metrics":   func() { s.Metrics = f.over.Metrics },
	} {
		if f.set[name] {
			over()
		}
	}
}
