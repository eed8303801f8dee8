// Command enginerace races storage drivers below whole engines in the lab, and writes the
// measurements as JSON: see package bench/engine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/integration/bench/engine"
	"github.com/overlayzfs/overlayzfs/integration/bench/machine"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "enginerace:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := engine.Options{Log: os.Stderr}
	report := &result.Report{Date: time.Now().UTC().Format(time.RFC3339)}
	flags := pflag.NewFlagSet("enginerace", pflag.ContinueOnError)
	flags.StringSliceVar(&o.Drivers, "drivers", engine.Default, "contenders, of "+strings.Join(engine.Contenders(), ", "))
	flags.StringSliceVar(&o.Rows, "rows", nil, "workloads, of "+strings.Join(engine.Workloads(), ", ")+"; default all")
	flags.IntVar(&o.Rounds, "rounds", 5, "number of rounds; the slowest contenders run in the first only")
	flags.DurationVar(&o.Budget, "budget", 17*time.Minute, "start no round that would exceed this time; 0 for no limit")
	flags.BoolVar(&o.Trace, "trace", false, "have the plugin log its calls, and sum them up")
	flags.StringVar(&o.Pool, "pool", "tank", "pool for all datasets")
	flags.StringVar(&o.PluginDir, "plugin", "plugin", "directory of the plugin, for docker plugin create")
	flags.StringVar(&o.Changer, "changer", "firstchange", "the program firstchange, which changes files in containers")
	flags.StringVar(&o.OtherDir, "other-plugin", "", "directory of another build of the plugin, which races beside it")
	flags.StringVar(&report.Version, "version", "unknown", "version of overlayzfs, for the report")
	store := flags.Bool("store", false, "race engines with the containerd image store instead; Docker 28 or later")
	out := flags.String("out", "engine.json", "file for the report")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if report.Machine, err = machine.Describe(); err != nil {
		return err
	}
	if *store {
		err = engine.RaceStores(ctx, engine.StoreOptions{Pool: o.Pool, Changer: o.Changer, Rounds: o.Rounds, Log: o.Log}, report)
	} else {
		err = engine.Race(ctx, o, report)
	}
	return errors.Join(err, report.WriteFile(*out))
}
