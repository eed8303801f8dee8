package race

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/contenders"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Config is the choice of rows and contenders, and the limits of a race.
type Config struct {
	Pool string // name of a ZFS pool
	Dir  string // directory on tmpfs, for mounts and tars
	// Rows chooses groups by their rows' IDs. A group runs as a whole.
	Rows *regexp.Regexp
	// Contenders chooses contenders by name, for work on the race itself.
	Contenders *regexp.Regexp
	// Rounds bounds the rounds of each group. LeastRounds is the number of rounds that
	// an entry runs while its group's budget lasts: enough for a spread.
	Rounds, LeastRounds int
	// Budget is the time of the whole race. Each group has a share of it.
	Budget time.Duration
	Log    io.Writer
}

// group is a set of rows that are measured together.
type group struct {
	name string
	rows []result.Row
	// budget is the group's share of the race's budget. A contender without a turn has
	// one in any case.
	budget  time.Duration
	entries []entry
	always  bool // costs nothing: runs after the race's budget, too
	once    bool // a round has all samples, or what it measures does not come twice
}

// entry is a contender's part in a group.
type entry struct {
	contender string
	rounds    int
	rows      []string // IDs of its rows; nil is all of the group's
	run       func(*turn) error
}

// runner runs groups.
type runner struct {
	Config
	open   *contenders.Set
	tars   *tarCache
	report *result.Shared
	end    time.Time
}

// Run measures all chosen rows. The report has the reason for a row that was not
// measured. An error is one of the race itself.
func Run(ctx context.Context, c Config, report *result.Shared) (err error) {
	r := &runner{
		Config: c, open: contenders.New(c.Pool, c.Dir), tars: &tarCache{dir: c.Dir}, report: report, end: time.Now().Add(c.Budget),
	}
	defer func() { err = errors.Join(err, r.open.Close()) }()
	chosen := slices.DeleteFunc(groups(r), func(g group) bool { return !g.matches(c.Rows) })
	for i, g := range chosen {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.budget = shareBudget(time.Until(r.end), chosen[i:])
		r.runGroup(g)
	}
	return nil
}

// shareBudget returns the share of the first group in the time that is left. What earlier
// groups did not use is shared by the others.
func shareBudget(left time.Duration, groups []group) time.Duration {
	var all time.Duration
	for _, g := range groups {
		all += g.budget
	}
	return time.Duration(float64(groups[0].budget) * min(1, max(0, float64(left)/float64(all))))
}

func (g group) matches(rows *regexp.Regexp) bool {
	return slices.ContainsFunc(g.rows, func(row result.Row) bool { return rows.MatchString(row.ID) })
}

// runGroup runs a group's entries in turns. Another entry begins in each round.
func (r *runner) runGroup(g group) {
	begin := time.Now()
	var runs []*entryRun
	for _, l := range g.entries {
		if r.Contenders.MatchString(l.contender) {
			if !g.once {
				l.rounds = max(l.rounds, r.LeastRounds)
			}
			runs = append(runs, &entryRun{entry: l, runner: r, group: &g})
		}
	}
	for round := range r.Rounds {
		for i := range runs {
			runs[(i+round)%len(runs)].runTurn(round, begin)
		}
	}
	for _, run := range runs {
		run.recordMissing()
	}
	r.logf("%s: %v of %v", g.name, time.Since(begin).Round(time.Second), g.budget.Round(time.Second))
}

func (r *runner) logf(format string, args ...any) {
	fmt.Fprintf(r.Log, format+"\n", args...)
}

// entryRun is the state of an entry.
type entryRun struct {
	entry
	runner *runner
	group  *group
	last   time.Duration // time of the last turn
	failed error
	turns  int
}

// runTurn runs the entry once more, if it may.
func (l *entryRun) runTurn(round int, begin time.Time) {
	if round >= l.rounds || l.failed != nil {
		return
	}
	if err := l.checkTime(begin); err != nil {
		if l.turns == 0 {
			l.failed = err
		}
		return
	}
	start := time.Now()
	l.failed = l.runOnce(round)
	l.last = time.Since(start)
	l.turns++
	l.runner.logf("  %-24s %-24s round %d: %v", l.group.name, l.contender, round+1, l.last.Round(time.Millisecond))
	if l.failed != nil {
		l.runner.logf("  %s: %s: %v", l.group.name, l.contender, l.failed)
	}
}

// checkTime returns an error when there is no time for another turn. The first turn
// needs time in the race, any other in the group.
func (l *entryRun) checkTime(begin time.Time) error {
	return clock{l.runner.end, l.group.budget, l.group.always}.allows(time.Now(), begin, l.turns, l.last)
}

// clock is the time limit of an entry.
type clock struct {
	end    time.Time     // of the race
	budget time.Duration // of the group
	always bool          // also after the end
}

// allows returns an error unless another turn fits. The group began at begin; the last
// of the entry's turns took last.
func (c clock) allows(now, begin time.Time, turns int, last time.Duration) error {
	if now.After(c.end) && !c.always {
		return errors.New("the race's budget was used up before its turn")
	}
	if turns > 0 && now.Sub(begin)+last > c.budget {
		return fmt.Errorf("the group's budget of %v is used up", c.budget)
	}
	return nil
}

func (l *entryRun) runOnce(round int) error {
	c, err := l.runner.open.Contender(l.contender)
	if err != nil {
		return err
	}
	one := &turn{Contender: c, runner: l.runner, group: l.group, round: round}
	if err := one.awaitIdle(); err != nil {
		return err
	}
	return one.runRecovering(l.run)
}

// recordMissing records why a row has no sample.
func (l *entryRun) recordMissing() {
	for _, row := range l.group.rows {
		if l.rows != nil && !slices.Contains(l.rows, row.ID) {
			continue
		}
		why := "it gave no sample"
		if l.failed != nil {
			why = l.failed.Error()
		}
		if !l.runner.report.HasSample(row.ID, l.contender) {
			l.runner.report.SetMissing(row, l.contender, why)
		}
	}
}
