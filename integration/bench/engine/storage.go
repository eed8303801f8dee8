package engine

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/bench/probes"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
	harness "github.com/overlayzfs/overlayzfs/integration/engine"
)

// graphdriver is the engine's package of storage drivers.
const graphdriver = "github.com/docker/docker/daemon/graphdriver"

// driverTypes are the engine's types that do a driver's work. The plugin's is the
// proxy. NaiveDiffDriver compares trees for drivers that cannot.
var driverTypes = map[string][]string{
	"overlay2": {graphdriver + "/overlay2.(*Driver)"},
	"zfs":      {graphdriver + "/zfs.(*Driver)", graphdriver + ".(*NaiveDiffDriver)"},
	"vfs":      {graphdriver + "/vfs.(*Driver)", graphdriver + ".(*NaiveDiffDriver)"},

	harness.PluginName: {graphdriver + ".(*graphDriverProxy)"},
}

var (
	layerCalls = []string{"Create", "CreateReadWrite", "Get", "Put", "Remove", "Exists", "GetMetadata"}
	diffCalls  = []string{"Diff", "ApplyDiff", "Changes", "DiffSize"}
)

// driverFunctions returns the functions of a driver that the engine calls.
// NaiveDiffDriver forwards the other calls.
func driverFunctions(driver string) (names []string) {
	for _, of := range driverTypes[driver] {
		calls := diffCalls
		if !strings.HasSuffix(of, "(*NaiveDiffDriver)") {
			calls = slices.Concat(layerCalls, diffCalls)
		}
		for _, call := range calls {
			names = append(names, of+"."+call)
		}
	}
	return names
}

// attachTracer attaches a tracer to the engine's calls of its driver. Without one the
// race goes on.
func (h *raceEngine) attachTracer() {
	path, err := exec.LookPath("dockerd")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		h.tracer, err = probes.New(path, "race_"+strings.ReplaceAll(h.key, "-", "_"), driverFunctions(h.driver))
	}
	if err != nil {
		h.stub.Logf("calls of %s are not measured: %v", h.driver, err)
		return
	}
	h.stub.Cleanup(func() {
		if err := h.tracer.Close(); err != nil {
			h.stub.Errorf("probes on calls of %s: %w", h.driver, err)
		}
	})
}

// storageRow returns the row of the time that another row's work spends in the storage
// driver.
func storageRow(row result.Row) result.Row {
	return result.Row{
		ID: row.ID + ".storage", Title: row.Title + ": in the driver", Unit: result.Milliseconds, Group: group,
		Note: "the part of " + row.ID + " that the engine spends in calls of its storage driver, the plugin's socket included; " +
			"calls at the same time count once; a diff is read after Diff has returned, so that it counts where ApplyDiff reads it",
	}
}

// measureRow measures do: its time, and how much of it is spent in the storage driver.
func (h *raceEngine) measureRow(note sampleFunc, row result.Row, do func() error) error {
	if h.tracer == nil {
		took, err := measureTime(do)
		if err == nil {
			note(row, took)
		}
		return err
	}
	if err := h.tracer.Start(); err != nil {
		return err
	}
	took, err := measureTime(do)
	made, stopErr := h.tracer.Stop()
	if err := errors.Join(err, stopErr); err != nil {
		return err
	}
	note(row, took)
	note(storageRow(row), h.sumCalls(made))
	return nil
}

// sumCalls returns the time spent in calls, in milliseconds.
func (h *raceEngine) sumCalls(made []probes.Call) float64 {
	if h.tracing {
		var all callTally
		for _, c := range made {
			all.add(c.Function[strings.LastIndex(c.Function, ".")+1:], c.Took)
		}
		fmt.Fprintf(h.stub.log, "  in calls of the driver:\n%s", all)
	}
	return milliseconds(probes.BusyTime(made))
}
