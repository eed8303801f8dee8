package race

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

const (
	// lifetimes is the number of layers that come and go. After warmLifetimes the
	// plugin has allocated what it keeps.
	lifetimes, warmLifetimes = 10_000, 1_000
	// inProcessLifetimes are enough to show a goroutine that each leaves.
	inProcessLifetimes = 500
	// callers is the number of parallel callers: more than a machine of the lab has processors.
	callers = 4
)

// cyclesGroup makes and removes layers until a leak would show.
func cyclesGroup() group {
	row := func(id, note string, unit result.Unit, title string) result.Row {
		return result.Row{ID: "cycles." + id, Group: "plugin", Note: note, Unit: unit, Title: title}
	}
	threads := []string{"cycles.rss.early", "cycles.rss.late", "cycles.threads.early", "cycles.threads.late", "cycles.mean"}
	return group{
		name: "cycles", budget: 120 * time.Second, once: true,
		rows: []result.Row{
			row("rss.early", "VmRSS after 1,000 layers were created, mounted, unmounted and removed, four at once.", result.Bytes, "memory of the plugin after 1,000 layers"),
			row("rss.late", "The same after 10,000.", result.Bytes, "memory of the plugin after 10,000 layers"),
			row("threads.early", "", result.Count, "threads of the plugin after 1,000 layers"),
			row("threads.late", "", result.Count, "threads of the plugin after 10,000 layers"),
			row("mean", "Create, Get, Put, Remove, four callers at once.", result.Milliseconds, "one of 10,000 lives of a layer"),
			row("goroutines.early", "Of the driver's whole process, idle.", result.Count, "goroutines before 500 layers"),
			row("goroutines.late", "", result.Count, "goroutines after 500 layers"),
		},
		entries: []entry{
			{result.Ours, 1, threads, (*turn).measureLifetimes},
			{result.OursInProcess, 1, []string{"cycles.goroutines.early", "cycles.goroutines.late"}, (*turn).measureGoroutines},
		},
	}
}

func (l *turn) measureLifetimes() error {
	image, err := l.Image(layers.Small)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := l.runLifetimes(image, warmLifetimes); err != nil {
		return err
	}
	if err := l.sampleProcess("early"); err != nil {
		return err
	}
	if err := l.runLifetimes(image, lifetimes-warmLifetimes); err != nil {
		return err
	}
	l.addSample("cycles.mean", milliseconds(time.Since(begin))/lifetimes)
	return l.sampleProcess("late")
}

func (l *turn) sampleProcess(when string) error {
	pid, _ := l.Pid()
	p, err := readProcessUsage(pid)
	if err != nil {
		return err
	}
	l.addSample("cycles.rss."+when, float64(p.rss))
	l.addSample("cycles.threads."+when, float64(p.threads))
	return nil
}

// runLifetimes makes and removes n layers.
func (l *turn) runLifetimes(image string, n int) error {
	ids := make(chan string, n)
	for range n {
		ids <- l.NewBuildID()
	}
	close(ids)
	var failed atomic.Bool
	var all sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		all.Go(func() {
			for id := range ids {
				if errs[i] = l.runLifetime(id, image); errs[i] != nil {
					failed.Store(true)
				}
				if failed.Load() || time.Now().After(l.runner.end) {
					return
				}
			}
		})
	}
	all.Wait()
	if left := len(ids); left > 0 && !failed.Load() {
		return fmt.Errorf("the race's budget was used up with %d of %d layers to go", left, n)
	}
	return errors.Join(errs...)
}

func (l *turn) runLifetime(id, image string) error {
	if err := l.Create(id, image, nil); err != nil {
		return err
	}
	if err := l.Fill(id, func(string) error { return nil }); err != nil {
		return err
	}
	return l.Remove(id)
}

// measureGoroutines counts the goroutines that the driver leaves. The plugin's own
// cannot be counted from outside.
func (l *turn) measureGoroutines() error {
	image, err := l.Image(layers.Small)
	if err != nil {
		return err
	}
	if err := l.sampleGoroutines("early"); err != nil {
		return err
	}
	if err := l.runLifetimes(image, inProcessLifetimes); err != nil {
		return err
	}
	return l.sampleGoroutines("late")
}

func (l *turn) sampleGoroutines(when string) error {
	if err := l.awaitIdle(); err != nil {
		return err
	}
	l.addSample("cycles.goroutines."+when, float64(runtime.NumGoroutine()))
	return nil
}

// memoryGroup samples the plugin's memory over the whole race.
func memoryGroup() group {
	return group{
		name: "memory", budget: time.Second, always: true, once: true,
		rows: []result.Row{
			{ID: "memory.peak", Group: "plugin", Unit: result.Bytes, Title: "greatest memory of the plugin", Note: "VmHWM: the most that was resident at any time of the rows above."},
			{ID: "memory.end", Group: "plugin", Unit: result.Bytes, Title: "memory of the plugin at the end", Note: "VmRSS after all rows above."},
		},
		entries: entriesFor([]string{result.Ours, result.OursDisabled}, 1, func(l *turn) error {
			pid, ok := l.Pid()
			if !ok {
				return errors.New("no process of its own")
			}
			p, err := readProcessUsage(pid)
			if err != nil {
				return err
			}
			l.addSample("memory.peak", float64(p.peak))
			l.addSample("memory.end", float64(p.rss))
			return nil
		}),
	}
}
