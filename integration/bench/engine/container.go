package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

const runNote = "by the engine's API, of a program that does nothing, in an image of 7 MB and 400 files; no network"

var (
	rowRun = result.Row{
		ID: "engine.run", Title: "docker run --rm, start to exit", Unit: result.Milliseconds, Group: group,
		Note: "create, start, wait, remove " + runNote,
	}
	rowRunCreate = result.Row{
		ID: "engine.run.create", Title: "docker run --rm: create", Unit: result.Milliseconds, Group: group,
		Note: "the part of engine.run that makes the container's two layers; no runtime in it",
	}
	rowRunStart = result.Row{
		ID: "engine.run.start", Title: "docker run --rm: start and exit", Unit: result.Milliseconds, Group: group,
		Note: "the part of engine.run that mounts, runs and unmounts; nearly all of it is the runtime's",
	}
	rowRunRemove = result.Row{
		ID: "engine.run.remove", Title: "docker run --rm: remove", Unit: result.Milliseconds, Group: group,
		Note: "the part of engine.run that removes the container's two layers",
	}
)

// runOnce measures `docker run --rm` and its parts.
func runOnce(ctx context.Context, h *raceEngine, note sampleFunc) error {
	if err := syncPool(ctx, h.pool); err != nil {
		return err
	}
	r := runTimes{ctx: ctx, api: h.api}
	if err := h.measureRow(note, rowRun, func() error { return r.run(baseImage, busybox, "true") }); err != nil {
		return err
	}
	note(rowRunCreate, r.created)
	note(rowRunStart, r.started)
	note(rowRunRemove, r.removed)
	return nil
}

// runTimes sums the times of the parts of running containers, in milliseconds.
type runTimes struct {
	ctx                       context.Context
	api                       *api
	options                   map[string]string // --storage-opt
	created, started, removed float64
}

// createAndRemove creates a container and removes it.
func (r *runTimes) createAndRemove(image string) error {
	id, err := r.api.createWith(r.ctx, r.options, image, busybox, "true")
	if err != nil {
		return err
	}
	return r.end(id)
}

func (r *runTimes) run(image string, program ...string) error {
	id, err := r.begin(image, program...)
	if err != nil {
		return err
	}
	return r.end(id)
}

// begin creates and starts a container, and returns when it has ended.
func (r *runTimes) begin(image string, program ...string) (id string, err error) {
	took, err := measureTime(func() (err error) {
		id, err = r.api.createWith(r.ctx, r.options, image, program...)
		return err
	})
	if err != nil {
		return "", err
	}
	r.created += took
	took, err = measureTime(func() error {
		if err := r.api.start(r.ctx, id); err != nil {
			return err
		}
		return r.api.wait(r.ctx, id)
	})
	r.started += took
	if err != nil {
		err = errors.Join(err, r.end(id))
	}
	return id, err
}

func (r *runTimes) end(id string) error {
	took, err := measureTime(func() error { return r.api.remove(r.ctx, id) })
	r.removed += took
	return err
}

// someContainers is the number of containers of the workload "three".
const someContainers = 3

const someRepo = "race-three"

// someRow returns a row of the workload "three".
func someRow(part, title, note string) result.Row {
	return result.Row{ID: "engine.three." + part, Title: title, Unit: result.Milliseconds, Group: group, Note: note}
}

// diskRow returns the row of the disk space that another row's work adds.
func diskRow(row result.Row) result.Row {
	return result.Row{
		ID: row.ID + ".disk", Title: row.Title + ": disk", Unit: result.Bytes, Group: group,
		Note: "what it adds to the contender's datasets, synced; 0 when they shrank meanwhile",
	}
}

var (
	rowSomeStart = someRow("start", "3 containers that each write 64 KB",
		"one after the other: create, start, exit; the content does not compress")
	rowSomeCommit = someRow("commit", "docker commit of the 3 containers", "one after the other")
	rowSomeRun    = someRow("run", "docker run --rm of the 3 commits",
		"one after the other: create, start, exit, remove; the program reads what was written")

	someRows = []result.Row{
		rowSomeStart, diskRow(rowSomeStart), rowSomeCommit, diskRow(rowSomeCommit), rowSomeRun, diskRow(rowSomeRun),
	}
)

// runSome starts some containers that write, commits each, and runs each commit.
func runSome(ctx context.Context, h *raceEngine, note sampleFunc) (err error) {
	t := &someRun{raceEngine: h, ctx: ctx, note: note}
	if t.disk, err = readStableUsed(ctx, h.pool, h.dataset); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.clear()) }()
	for _, part := range []struct {
		row result.Row
		do  func() error
	}{{rowSomeStart, t.start}, {rowSomeCommit, t.commit}, {rowSomeRun, t.run}} {
		if err := t.measure(part.row, part.do); err != nil {
			return fmt.Errorf("%s: %w", part.row.ID, err)
		}
	}
	return nil
}

// someRun is a run of the workload "three".
type someRun struct {
	*raceEngine
	ctx        context.Context
	note       sampleFunc
	disk       float64 // space used before the part
	containers []string
	images     []string
}

func (t *someRun) measure(row result.Row, do func() error) error {
	if err := t.measureRow(t.note, row, do); err != nil {
		return err
	}
	now, err := readUsed(t.ctx, t.pool, t.dataset)
	if err != nil {
		return err
	}
	t.note(diskRow(row), max(0, now-t.disk))
	t.disk = now
	return nil
}

func (t *someRun) start() error {
	r := runTimes{ctx: t.ctx, api: t.api}
	for range someContainers {
		id, err := r.begin(baseImage, busybox, "dd", "if=/dev/urandom", "of=/written", "bs=65536", "count=1")
		if err != nil {
			return err
		}
		t.containers = append(t.containers, id)
	}
	return nil
}

func (t *someRun) commit() error {
	for n, id := range t.containers {
		tag := fmt.Sprint(n)
		if err := t.api.commit(t.ctx, id, someRepo, tag); err != nil {
			return err
		}
		t.images = append(t.images, someRepo+":"+tag)
	}
	return nil
}

func (t *someRun) run() error {
	r := runTimes{ctx: t.ctx, api: t.api}
	for _, image := range t.images {
		if err := r.run(image, busybox, "sha256sum", "/written"); err != nil {
			return err
		}
	}
	return nil
}

func (t *someRun) clear() error {
	var errs []error
	for _, id := range t.containers {
		errs = append(errs, t.remove(t.ctx, id))
	}
	for _, image := range t.images {
		errs = append(errs, t.removeImage(t.ctx, image))
	}
	return errors.Join(errs...)
}
