package main

import (
	"os"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// patience is how long a work may take before a bar is shown; a variable for tests.
var patience = time.Second

// progress shows how far a work of so many steps is: on a terminal, and only if
// it takes long. step is called after each, by any goroutine, done at the end.
func (c console) progress(what string, steps int64) (step func(n int64), done func()) {
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
	late := time.AfterFunc(patience, func() { bar.Render(); rendering.Done() })
	rendering.Add(1)
	return tracker.Increment, func() {
		tracker.MarkAsDone()
		if late.Stop() { // it was never shown
			rendering.Done()
		}
		rendering.Wait()
	}
}

// waiting shows that a work goes on of which nobody can say how far it is.
func (c console) waiting(what string) (done func()) {
	_, done = c.progress(what, 0)
	return done
}
