//go:build vm

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// killer kills commands at random moments of their runs.
type killer struct {
	random *rand.Rand
	took   map[string]time.Duration // by verb
	kills  map[string]int
	ended  map[string]int // runs that ended before their kill
}

func newKiller(t testing.TB) *killer {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return &killer{rand.New(rand.NewPCG(seed, 1)), map[string]time.Duration{}, map[string]int{}, map[string]int{}}
}

// isDone reports whether each verb was killed often enough.
func (k *killer) isDone(verbs ...string) bool {
	for _, verb := range verbs {
		if k.kills[verb] < *kills {
			return false
		}
	}
	return true
}

// text returns a text that differs from call to call.
func (k *killer) text() string { return fmt.Sprint(k.random.Uint64()) }

// report logs the number of kills of a verb.
func (k *killer) report(t testing.TB, verbs ...string) {
	t.Helper()
	for _, verb := range verbs {
		t.Logf("%s: %d kills in runs of %v; %d runs ended before their kill", verb, k.kills[verb], k.took[verb].Round(time.Millisecond), k.ended[verb])
	}
}

// untilDone runs a command, which may be several that pipes connect. It kills one of them up
// to four times, and lets the last run end. The first call kills nothing: it measures how long a run
// takes.
func (k *killer) untilDone(t testing.TB, verb string, prepare func() []*exec.Cmd) {
	t.Helper()
	if k.took[verb] > 0 {
		for range 1 + k.random.IntN(min(4, *kills)) {
			delay := time.Duration(k.random.Int64N(int64(k.took[verb])))
			if !k.runAndKill(t, verb, delay, prepare()) {
				k.ended[verb]++
				return
			}
			k.kills[verb]++
		}
	}
	if k.runAndKill(t, verb, time.Hour, prepare()) {
		t.Fatalf("%s ran for an hour", verb)
	}
}

// runAndKill runs connected commands and kills one of them after a delay. It reports whether
// the command was running then.
func (k *killer) runAndKill(t testing.TB, verb string, delay time.Duration, all []*exec.Cmd) (killed bool) {
	t.Helper()
	out := make([]strings.Builder, len(all))
	begin := time.Now()
	for i, cmd := range all {
		cmd.Stderr = &out[i]
		if i == len(all)-1 {
			cmd.Stdout = &out[i]
		}
		must(t, cmd.Start())
		closePipes(cmd)
	}
	victim := all[k.random.IntN(len(all))]
	timer := time.AfterFunc(delay, func() { _ = victim.Process.Kill() })
	failures := make([]error, len(all))
	for i, cmd := range all {
		failures[i] = cmd.Wait()
	}
	timer.Stop()
	if failures[indexOf(all, victim)] != nil && !victim.ProcessState.Exited() {
		return true
	}
	for i, err := range failures {
		if err != nil {
			t.Fatalf("%s: overlayzfs %q: %v\n%s", verb, all[i].Args[1:], err, out[i].String())
		}
	}
	if delay == time.Hour {
		k.took[verb] = time.Since(begin)
	}
	return false
}

func indexOf(all []*exec.Cmd, one *exec.Cmd) int {
	for i, cmd := range all {
		if cmd == one {
			return i
		}
	}
	return -1
}

// connect has one command read what another writes.
func connect(t testing.TB, from, to *exec.Cmd) []*exec.Cmd {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	from.Stdout, to.Stdin = w, r
	return []*exec.Cmd{from, to}
}

// closePipes closes this process's ends of a started command's pipes.
func closePipes(cmd *exec.Cmd) {
	for _, end := range []any{cmd.Stdin, cmd.Stdout} {
		if file, ok := end.(*os.File); ok {
			file.Close()
		}
	}
}

// operate returns a call of the operator's command.
func operate(args ...string) []*exec.Cmd { return []*exec.Cmd{exec.Command(operatorPath, args...)} }

// describeDataset describes every file of a dataset or a snapshot, which it mounts for that.
func describeDataset(t testing.TB, dataset string) (lines []string) {
	t.Helper()
	changeDataset(t, dataset, func(dir string) { lines = describeDir(t, dir) })
	return lines
}

// describeDir describes every file of a directory.
func describeDir(t testing.TB, dir string) (lines []string) {
	t.Helper()
	tree, err := treecmp.FromDir(dir)
	must(t, err)
	for _, entry := range tree.Entries {
		line, err := json.Marshal(entry)
		must(t, err)
		lines = append(lines, string(line))
	}
	return lines
}

// changeDataset mounts a dataset and calls do with the directory.
func changeDataset(t testing.TB, dataset string, do func(dir string)) {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "content-")
	must(t, err)
	run(t, "mount", "-i", "-t", "zfs", dataset, dir)
	defer func() {
		run(t, "umount", dir)
		must(t, os.Remove(dir))
	}()
	do(dir)
}

// content is what datasets hold, by name.
type content map[string][]string

// require fails the test when a dataset holds something else. rename gives the name
// that a dataset has now.
func (c content) require(t testing.TB, what string, rename func(string) string) {
	t.Helper()
	var err error
	for dataset, want := range c {
		for _, d := range differences(describeDataset(t, rename(dataset)), want) {
			err = errors.Join(err, fmt.Errorf("%s: dataset %s: %s", what, rename(dataset), d))
		}
	}
	must(t, err)
}

func asItWas(dataset string) string { return dataset }
