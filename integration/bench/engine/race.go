package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Options are the contenders, workloads and limits of a race.
type Options struct {
	Pool      string        // pool of all datasets
	PluginDir string        // the plugin as `docker plugin create` takes it
	Changer   string        // the program firstchange
	OtherDir  string        // another build of it, to race beside it; may be empty
	Drivers   []string      // keys of contenders
	Rows      []string      // keys of workloads; nil is all
	Rounds    int           // number of rounds of all workloads
	Budget    time.Duration // no round starts that would exceed it; 0 is no budget
	Trace     bool          // have the plugin log its calls and add them up
	Log       io.Writer     // progress, in lines
}

// Race runs the race and adds its measurements to a report. A contender's failure does
// not stop the others.
func Race(ctx context.Context, o Options, report *result.Report) (err error) {
	r := &race{Options: o, report: report, broken: make(map[string]bool), began: time.Now()}
	if err := r.chooseEntries(); err != nil {
		return err
	}
	s := &testingStub{log: o.Log}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := r.startAll(ctx, s); err != nil {
		s.failed = true
		return err
	}
	err = r.runRounds(ctx)
	s.failed = err != nil
	return err
}

type race struct {
	Options
	report     *result.Report
	entries    []contender
	workloads  []workload
	engines    []*raceEngine
	broken     map[string]bool // failed workloads, by workload and contender
	began      time.Time
	repeatTime time.Duration // time of the last round, without contenders for the first round only
}

func (r *race) chooseEntries() error {
	for _, key := range r.Drivers {
		at := slices.IndexFunc(contenders, func(c contender) bool { return c.key == key })
		if at < 0 {
			return fmt.Errorf("no contender %q; there are %s", key, strings.Join(Contenders(), ", "))
		}
		r.entries = append(r.entries, contenders[at].expandBuilds(r.PluginDir, r.OtherDir)...)
	}
	for _, key := range r.Rows {
		if !slices.Contains(Workloads(), key) {
			return fmt.Errorf("no workload %q; there are %s", key, strings.Join(Workloads(), ", "))
		}
	}
	for _, w := range workloads {
		if len(r.Rows) == 0 || slices.Contains(r.Rows, w.key) {
			r.workloads = append(r.workloads, w)
		}
	}
	return nil
}

// Contenders returns the keys of all contenders.
func Contenders() (keys []string) {
	for _, c := range contenders {
		keys = append(keys, c.key)
	}
	return keys
}

// Workloads returns the keys of all workloads.
func Workloads() (keys []string) {
	for _, w := range workloads {
		keys = append(keys, w.key)
	}
	return keys
}

// startAll starts all engines, which run for the whole race. Idle engines cost next to
// nothing, and contenders can take turns at every workload.
func (r *race) startAll(ctx context.Context, s *testingStub) error {
	for _, c := range r.entries {
		took, err := measureTime(func() error {
			h, err := startContender(ctx, s, c, r.Options)
			if err == nil {
				r.engines = append(r.engines, h)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(r.Log, "%-18s is ready after %.1f s\n", c.key, took/1000)
	}
	return nil
}

func (r *race) runRounds(ctx context.Context) error {
	var errs []error
	for n := range r.Rounds {
		if n > 0 && r.Budget > 0 && time.Since(r.began)+r.repeatTime > r.Budget {
			fmt.Fprintf(r.Log, "no time for round %d of %d\n", n+1, r.Rounds)
			break
		}
		start := time.Now()
		r.repeatTime = 0
		errs = append(errs, r.runRound(ctx, n))
		fmt.Fprintf(r.Log, "round %d took %.0f s, the next would take %.0f s\n", n+1, time.Since(start).Seconds(), r.repeatTime.Seconds())
	}
	return errors.Join(errs...)
}

// runRound has each contender run each workload. Another contender begins in each
// round.
func (r *race) runRound(ctx context.Context, n int) error {
	var errs []error
	for _, w := range r.workloads {
		for range w.repeat {
			for i := range r.engines {
				errs = append(errs, r.runTurn(ctx, n, w, r.engines[(i+n)%len(r.engines)]))
			}
		}
	}
	return errors.Join(errs...)
}

// runTurn runs a workload on a contender. It skips failed ones, and those for the first
// round only.
func (r *race) runTurn(ctx context.Context, n int, w workload, h *raceEngine) error {
	turn := w.key + " " + h.key
	if r.broken[turn] || n > 0 && h.once || w.ours && !h.isOurs() {
		return nil
	}
	if r.Budget > 0 && time.Since(r.began) > r.Budget {
		r.recordMissing(w, h, "no time was left")
		return nil
	}
	if !h.once {
		defer func(start time.Time) { r.repeatTime += time.Since(start) }(time.Now())
	}
	from, err := h.logSize()
	if err != nil {
		return err
	}
	err = w.run(ctx, h, func(row result.Row, value float64) {
		r.report.AddSample(row, h.name, value)
		fmt.Fprintf(r.Log, "%-18s %-30s %12.2f %s\n", h.key, row.ID, value, row.Unit)
	})
	if err != nil {
		r.broken[turn] = true
		r.recordMissing(w, h, firstLine(err.Error()))
		return fmt.Errorf("%s of %s: %w", w.key, h.name, err)
	}
	return r.printTrace(h, from)
}

// recordMissing records why a contender has no samples in a workload's rows.
func (r *race) recordMissing(w workload, h *raceEngine, why string) {
	for _, row := range w.rows {
		r.report.SetMissing(row, h.name, why)
	}
}

// firstLine returns the first line of an error, without the output of programs.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
