package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

const (
	// manyImage holds the program that changes files, and the files.
	manyImage   = "race:many"
	firstChange = "/bin/firstchange"
	manyDir     = "/many"

	manyFiles    = 220
	manyFileSize = 4 << 10
)

const copyUpNote = "the mean of 200 files after 20 others, measured by the program in the container that opens them for writing; " +
	"the image is on disk"

var rowCopyUp = result.Row{
	ID: "engine.copyup", Title: "first change of a file of 4 KB, in a container", Unit: result.Milliseconds, Group: group, Note: copyUpNote,
}

// changeInContainer measures first changes in a new container.
func changeInContainer(ctx context.Context, h *raceEngine, note sampleFunc) error {
	if err := syncPool(ctx, h.pool); err != nil {
		return err
	}
	took, err := runFirstChange(ctx, h.api)
	if err == nil {
		note(rowCopyUp, took)
	}
	return err
}

// runFirstChange runs the program in a new container of an engine, and returns how long a
// first change took, in milliseconds.
func runFirstChange(ctx context.Context, a *api) (took float64, err error) {
	id, err := a.create(ctx, manyImage, firstChange, manyDir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.remove(ctx, id)) }()
	if err := a.start(ctx, id); err != nil {
		return 0, err
	}
	if err := a.wait(ctx, id); err != nil {
		return 0, err
	}
	out, err := a.logs(ctx, id)
	if err != nil {
		return 0, err
	}
	return findFirstChange(out)
}

var firstChangeLine = regexp.MustCompile(`first change: ([0-9.]+) ms`)

// findFirstChange returns the figure in the program's output.
func findFirstChange(out string) (float64, error) {
	found := firstChangeLine.FindStringSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("firstchange printed no figure: %q", out)
	}
	return strconv.ParseFloat(found[1], 64)
}

// makeManyLayer makes the layer of manyImage. The programs are files of the job.
func makeManyLayer(program string) ([]byte, error) {
	raw, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	shell, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	a := newArchive(100)
	for _, name := range []string{"bin", "dev", "etc", "proc", "sys", "tmp", manyDir[1:]} {
		a.dir(name)
	}
	a.file(firstChange[1:], 0o755, raw)
	a.file(busybox[1:], 0o755, shell)
	for n := range manyFiles {
		a.random(fmt.Sprintf("%s/f%03d", manyDir[1:], n), manyFileSize)
	}
	return a.finish()
}

// makeManyImage makes the archive of an image with that layer.
func makeManyImage(name, program string) ([]byte, error) {
	layer, err := makeManyLayer(program)
	if err != nil {
		return nil, err
	}
	return makeImage(name, layer)
}
