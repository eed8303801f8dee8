package engine

import (
	"context"
	"errors"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
)

// group is the group of all rows here.
const group = "engine"

// workload is what a contender does once a round. It leaves the engine as it was.
type workload struct {
	key    string
	rows   []result.Row
	repeat int  // samples in a round
	ours   bool // peers cannot do it
	run    func(ctx context.Context, h *raceEngine, note sampleFunc) error
}

// sampleFunc adds a sample to a row.
type sampleFunc func(row result.Row, value float64)

var workloads = []workload{
	{key: "run", rows: []result.Row{rowRun, rowRunCreate, rowRunStart, rowRunRemove}, repeat: 2, run: runOnce},
	{key: "load", rows: []result.Row{rowLoad, rowLoadDisk}, repeat: 1, run: loadMany},
	{key: "build", rows: []result.Row{rowBuild, rowBuildDisk}, repeat: 1, run: buildClassic},
	{key: "buildkit", rows: []result.Row{rowBuildKit}, repeat: 1, run: buildBuildKit},
	{key: "three", rows: someRows, repeat: 1, run: runSome},
	{key: "copyup", rows: []result.Row{rowCopyUp}, repeat: 1, run: changeInContainer},
	{key: "busy", rows: []result.Row{rowBusyIdle, rowBusyBusy, rowBusyFactor}, repeat: 1, run: runBusy},
	{key: "limit", rows: []result.Row{rowLimitCreate, rowLimitRun, rowNoLimitCreate, rowNoLimitRun}, repeat: 2, ours: true, run: runLimited},
}

// makeImage makes the archive of an image for docker load.
func makeImage(name string, stack ...[]byte) ([]byte, error) { return layers.Archive(name, stack...) }

// measureTime returns how many milliseconds do took.
func measureTime(do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return float64(time.Since(began)) / float64(time.Millisecond), err
}

var (
	rowLoad = result.Row{
		ID: "engine.load", Title: "docker load, 10 layers", Unit: result.Milliseconds, Group: group,
		Note: "10 layers of 40 files of 8 KiB, none of them known: 3.3 MB that do not compress",
	}
	rowLoadDisk = diskRow(rowLoad)
)

func loadMany(ctx context.Context, h *raceEngine, note sampleFunc) (err error) {
	many, err := makeLoadedLayers()
	if err != nil {
		return err
	}
	image, err := makeImage(loadedImage, many...)
	if err != nil {
		return err
	}
	before, err := readStableUsed(ctx, h.pool, h.dataset)
	if err != nil {
		return err
	}
	if err := h.measureRow(note, rowLoad, func() error { return h.load(ctx, image) }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.removeImage(ctx, loadedImage)) }()
	after, err := readUsed(ctx, h.pool, h.dataset)
	if err != nil {
		return err
	}
	note(rowLoadDisk, max(0, after-before))
	return nil
}
