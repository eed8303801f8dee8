// Command enginerace races storage drivers below whole engines in the lab and
// writes what it measured as JSON: see package bench/engine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/integration/bench/engine"
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
	flags.StringSliceVar(&o.Drivers, "drivers", engine.Default, "who races, of "+strings.Join(engine.Contenders(), ", "))
	flags.StringSliceVar(&o.Rows, "rows", nil, "what is raced in, of "+strings.Join(engine.Workloads(), ", ")+"; all unless named")
	flags.IntVar(&o.Rounds, "rounds", 3, "how often all do it; the slowest, and what takes longest, only once")
	flags.DurationVar(&o.Budget, "budget", 17*time.Minute, "begin no round that would probably end later than this; 0 for no limit")
	flags.BoolVar(&o.Trace, "trace", false, "have the plugin log its calls, and add them up")
	flags.StringVar(&o.Pool, "pool", "tank", "pool for all datasets")
	flags.StringVar(&o.PluginDir, "plugin", "plugin", "the plugin as `docker plugin create` takes it")
	flags.StringVar(&o.OtherDir, "other-plugin", "", "another build of the plugin, which races beside it")
	flags.StringVar(&report.Version, "version", "unknown", "version of overlayzfs, for the report")
	out := flags.String("out", "engine.json", "where the report goes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if report.Machine, err = machine(); err != nil {
		return err
	}
	return errors.Join(engine.Race(ctx, o, report), report.WriteFile(*out))
}

// machine describes the one this runs on.
func machine() (result.Machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return result.Machine{}, fmt.Errorf("uname: %w", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return result.Machine{}, fmt.Errorf("sysinfo: %w", err)
	}
	module, err := os.ReadFile("/sys/module/zfs/version")
	if err != nil {
		return result.Machine{}, fmt.Errorf("the module's version: %w", err)
	}

	return result.Machine{
		Kernel: unix.ByteSliceToString(name.Release[:]), OpenZFS: strings.TrimSpace(string(module)),
		CPUs: runtime.NumCPU(), MemoryMiB: int(info.Totalram * uint64(info.Unit) >> 20),
	}, nil
}
