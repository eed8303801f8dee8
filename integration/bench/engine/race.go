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

// Options say what is raced and on what.
type Options struct {
	Pool      string        // where all datasets are made
	PluginDir string        // the plugin as `docker plugin create` takes it
	OtherDir  string        // another build of it, to race beside it; may be empty
	Drivers   []string      // keys of contenders
	Rows      []string      // keys of workloads; none are all
	Rounds    int           // how often all contenders do all workloads
	Budget    time.Duration // no round begins that would probably exceed it; 0 is none
	Trace     bool          // have the plugin log its calls and add them up
	Log       io.Writer     // what happens, line by line
}

// Race runs the race and adds what it measures to a report. What went wrong
// with one contender keeps no other from racing.
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
	broken     map[string]bool // a contender's workload that failed, by both keys
	began      time.Time
	repeatTime time.Duration // what the last round took, without what is for the first only
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

// Contenders are the keys of all contenders.
func Contenders() (keys []string) {
	for _, c := range contenders {
		keys = append(keys, c.key)
	}
	return keys
}

// Workloads are the keys of all workloads.
func Workloads() (keys []string) {
	for _, w := range workloads {
		keys = append(keys, w.key)
	}
	return keys
}

// startAll starts all engines, which stay for the whole race: idle ones cost
// next to nothing, and contenders can take turns at every workload.
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

// runRound has each contender do each workload; who begins changes from round to
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

// runTurn is one workload of one contender. After a failure there is no other, and
// some are for the first round only.
func (r *race) runTurn(ctx context.Context, n int, w workload, h *raceEngine) error {
	turn := w.key + " " + h.key
	if r.broken[turn] || n > 0 && (w.once || h.once) {
		return nil
	}
	if r.Budget > 0 && time.Since(r.began) > r.Budget {
		r.recordMissing(w, h, "no time was left")
		return nil
	}
	if !w.once && !h.once {
		defer func(start time.Time) { r.repeatTime += time.Since(start) }(time.Now())
	}
	from, err := h.logSize()
	if err != nil {
		return err
	}
	err = w.run(ctx, h, func(row result.Row, value float64) {
		r.report.AddSample(row, h.name, value)
		fmt.Fprintf(r.Log, "%-18s %-30s %12.0f %s\n", h.key, row.ID, value, row.Unit)
	})
	if err != nil {
		r.broken[turn] = true
		r.recordMissing(w, h, firstLine(err.Error()))
		return fmt.Errorf("%s of %s: %w", w.key, h.name, err)
	}
	return r.printTrace(h, from)
}

// recordMissing notes why a workload's rows lack samples of a contender.
func (r *race) recordMissing(w workload, h *raceEngine, why string) {
	for _, row := range w.rows {
		r.report.SetMissing(row, h.name, why)
	}
}

// firstLine leaves out the output of programs.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
