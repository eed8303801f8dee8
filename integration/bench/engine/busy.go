package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/inguest"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// busyCycles is the number of containers in a sample.
const busyCycles = 5

// writeForever writes up to 100 MB/s into 64 MB of a file, without fsync. The content does
// not compress.
const writeForever = "dd if=/dev/urandom of=/r bs=1M count=4; i=0; " +
	"while :; do dd if=/r of=/written bs=4M count=1 seek=$i conv=notrunc 2>/dev/null; echo $i >/begun; i=$(((i + 1) % 16)); usleep 40000; done"

func busyRow(part, title, note string, unit result.Unit) result.Row {
	return result.Row{ID: "engine.busy." + part, Title: title, Unit: unit, Group: group, Note: note}
}

var (
	rowBusyIdle = busyRow("idle", "docker create and rm, idle", "the mean of 5", result.Milliseconds)
	rowBusyBusy = busyRow("busy", "docker create and rm beside a container that writes",
		"the same while a container writes up to 100 MB/s without fsync", result.Milliseconds)
	rowBusyFactor = busyRow("factor", "docker create and rm, busy against idle", "the quotient of the two", result.Factor)
)

// runBusy measures what a container that writes costs others.
func runBusy(ctx context.Context, h *raceEngine, note sampleFunc) (err error) {
	if err := syncPool(ctx, h.pool); err != nil {
		return err
	}
	r := runTimes{ctx: ctx, api: h.api}
	idle, err := r.measureCreates()
	if err != nil {
		return err
	}
	writer, err := h.create(ctx, baseImage, busybox, "sh", "-c", writeForever)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.remove(ctx, writer)) }()
	if err := h.start(ctx, writer); err != nil {
		return err
	}
	if err := h.awaitWriting(ctx, writer); err != nil {
		return err
	}
	busy, err := r.measureCreates()
	if err != nil {
		return err
	}
	note(rowBusyIdle, idle)
	note(rowBusyBusy, busy)
	note(rowBusyFactor, busy/idle)
	return nil
}

// awaitWriting waits until the writing container has written.
func (h *raceEngine) awaitWriting(ctx context.Context, id string) error {
	return inguest.Poll(ctx, func() error {
		changes, err := h.changes(ctx, id)
		if err == nil && !strings.Contains(changes, `"/begun"`) {
			err = fmt.Errorf("container %s has not written yet: %s", id, changes)
		}
		return err
	})
}

// measureCreates returns the time of docker create and rm.
func (r *runTimes) measureCreates() (float64, error) {
	took, err := measureTime(func() error {
		for range busyCycles {
			if err := r.createAndRemove(baseImage); err != nil {
				return err
			}
		}
		return nil
	})
	return took / busyCycles, err
}
