package main

import (
	"os"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// barDelay is how long work takes before a bar is shown; a variable for tests.
var barDelay = time.Second

// showProgress shows a bar for work of so many steps: on a terminal, and only if the work
// takes long. Any goroutine calls step after a step. The caller calls done at the end.
func (c console) showProgress(what string, steps int64) (step func(n int64), done func()) {
	f, ok := c.err.(*os.File)
	if !ok || !isTerminal(f) {
		return func(int64) {}, func() {}
	}
	tracker := &progress.Tracker{Message: what, Total: steps, RemoveOnCompletion: true}
	bar := progress.NewWriter()
	bar.SetOutputWriter(f)
	bar.SetAutoStop(true)
	bar.SetNumTrackersExpected(1)
	bar.AppendTracker(tracker)
	var rendering sync.WaitGroup
	late := time.AfterFunc(barDelay, func() { bar.Render(); rendering.Done() })
	rendering.Add(1)
	return tracker.Increment, func() {
		tracker.MarkAsDone()
		if late.Stop() { // the bar never showed
			rendering.Done()
		}
		rendering.Wait()
	}
}

// showSpinner shows that work of unknown length goes on.
func (c console) showSpinner(what string) (done func()) {
	_, done = c.showProgress(what, 0)
	return done
}
