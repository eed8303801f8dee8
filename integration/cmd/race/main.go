// Command race runs the storage rows of the race, as root on a machine with a pool, and
// writes its report. Package bench/race has the rows.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/docker/docker/pkg/reexec"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/integration/bench/machine"
	"github.com/overlayzfs/overlayzfs/integration/bench/race"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// overtime is the time that a running row may take beyond the budget.
const overtime = 3 * time.Minute

func main() {
	if reexec.Init() { // moby's drivers execute this program again
		return
	}
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	config := race.Config{Log: os.Stderr}
	var rows, contenders, out, version, profile string
	cmd := &cobra.Command{
		Use:           "race",
		Short:         "Race storage drivers on one ZFS pool",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if config.Rows, err = regexp.Compile(rows); err != nil {
				return err
			}
			if config.Contenders, err = regexp.Compile(contenders); err != nil {
				return err
			}
			return writeProfile(profile, func() error { return run(cmd.Context(), config, version, out) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&config.Pool, "pool", "tank", "pool for datasets of the race")
	flags.StringVar(&config.Dir, "dir", "/run/race", "directory on tmpfs for mounts and tars")
	flags.StringVar(&rows, "rows", ".", "regular expression of rows' IDs; rows that are measured together are chosen together")
	flags.StringVar(&contenders, "contenders", ".", "regular expression of contenders' names")
	flags.IntVar(&config.Rounds, "rounds", 100, "largest number of rounds of each row")
	flags.DurationVar(&config.Budget, "budget", 38*time.Minute, "time for the whole race")
	flags.StringVar(&out, "out", "race.json", "file for the report")
	flags.StringVar(&version, "version", "unknown", "version of overlayzfs")
	flags.StringVar(&profile, "profile", "", "file for a CPU profile of this process; useful for contenders in process (--contenders 'in process$')")
	return cmd
}

// writeProfile calls do, and writes a CPU profile of it to file, if there is one.
func writeProfile(file string, do func() error) error {
	if file == "" {
		return do()
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

// spreadRounds is the number of rounds that a row gets on a machine that is not
// emulated: enough to tell their spread.
const spreadRounds = 5

// run races until everything is measured, the budget is used up or a contender hangs. It
// writes what was measured in any case.
func run(ctx context.Context, c race.Config, version, out string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	described, err := machine.Describe()
	if err != nil {
		return err
	}
	if described.Accelerator != "tcg" {
		c.LeastRounds = spreadRounds
	}
	report := result.NewShared(result.Report{Version: version, Date: time.Now().UTC().Format(time.RFC3339), Machine: described})
	ended := make(chan error, 1)
	go func() { ended <- race.Run(ctx, c, report) }()
	select {
	case err = <-ended:
	case <-time.After(c.Budget + overtime):
		err = fmt.Errorf("a row still runs %v after the budget of %v", overtime, c.Budget)
	}
	return errors.Join(err, report.Snapshot().WriteFile(out))
}
