package engine

import (
	"context"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// limitSize is the limit of a limited container.
const limitSize = "50m"

// limitRows returns the rows of containers with a limit of their own, or without.
func limitRows(slug, what string) (create, run result.Row) {
	row := func(part, title string) result.Row {
		return result.Row{
			ID: "engine." + slug + "." + part, Title: title + what, Unit: result.Milliseconds, Group: group,
			Note: "by the engine's API; the dataset that the driver makes beforehand for the next limited container is ready",
		}
	}
	return row("create", "docker create and rm"), row("run", "docker run --rm")
}

var (
	rowLimitCreate, rowLimitRun     = limitRows("limit", " of a container with size="+limitSize)
	rowNoLimitCreate, rowNoLimitRun = limitRows("nolimit", " of a container without a limit")
)

// runLimited measures what a limit of its own costs a container.
func runLimited(ctx context.Context, h *raceEngine, note sampleFunc) error {
	for _, kind := range []struct {
		options     map[string]string
		create, run result.Row
	}{{map[string]string{"size": limitSize}, rowLimitCreate, rowLimitRun}, {nil, rowNoLimitCreate, rowNoLimitRun}} {
		// The space used changes while datasets are made for the next container.
		if _, err := readStableUsed(ctx, h.pool, h.dataset); err != nil {
			return err
		}
		r := runTimes{ctx: ctx, api: h.api, options: kind.options}
		took, err := measureTime(func() error { return r.createAndRemove(baseImage) })
		if err != nil {
			return err
		}
		note(kind.create, took)
		if _, err := readStableUsed(ctx, h.pool, h.dataset); err != nil {
			return err
		}
		if took, err = measureTime(func() error { return r.run(baseImage, busybox, "true") }); err != nil {
			return err
		}
		note(kind.run, took)
	}
	return nil
}
