package engine

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/bench/probes"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// graphdriver is the package of the engine where drivers are called.
const graphdriver = "github.com/docker/docker/daemon/graphdriver"

// drivers are the types that do a driver's work in the engine; ours is done
// behind the proxy. NaiveDiffDriver compares trees for those that cannot.
var drivers = []string{
	graphdriver + "/overlay2.(*Driver)", graphdriver + "/zfs.(*Driver)", graphdriver + "/vfs.(*Driver)",
	graphdriver + ".(*graphDriverProxy)", graphdriver + ".(*NaiveDiffDriver)",
}

var driverCalls = []string{
	"Create", "CreateReadWrite", "Get", "Put", "Remove", "Exists", "GetMetadata", "Diff", "ApplyDiff", "Changes", "DiffSize",
}

// naive are the calls that NaiveDiffDriver does itself and not hand on.
const naive = "Diff ApplyDiff Changes DiffSize"

// driverFunctions are all functions of drivers that the engine calls.
func driverFunctions() (names []string) {
	for _, driver := range drivers {
		for _, call := range driverCalls {
			if strings.HasSuffix(driver, "(*NaiveDiffDriver)") && !strings.Contains(naive, call) {
				continue
			}
			names = append(names, driver+"."+call)
		}
	}
	return names
}

// probeEngines has all engines' calls of their drivers measured.
func probeEngines() (*probes.Tracer, error) {
	path, err := exec.LookPath("dockerd")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, err
	}
	return probes.Set(path, driverFunctions())
}

// storageOf is the row of what another's work costs in calls of the driver.
func storageOf(row result.Row) result.Row {
	return result.Row{
		ID: row.ID + ".storage", Title: row.Title + ": in the driver", Unit: result.Milliseconds, Group: group,
		Note: "the part of " + row.ID + " that the engine spends in calls of its storage driver, the plugin's socket included; " +
			"calls at one time add up; a diff is read after Diff has returned, so that it counts where ApplyDiff reads it",
	}
}

// measured does something, and notes how long it took and how much of that was
// in calls of the driver.
func (h *house) measured(note note, row result.Row, do func() error) error {
	if h.tracer == nil {
		took, err := timed(do)
		if err == nil {
			note(row, took)
		}
		return err
	}
	if err := h.tracer.Clear(); err != nil {
		return err
	}
	took, err := timed(do)
	if err != nil {
		return err
	}
	made, err := h.tracer.Calls()
	if err != nil {
		return err
	}
	note(row, took)
	note(storageOf(row), h.addUp(made))
	return nil
}

// addUp is how long calls took, in milliseconds.
func (h *house) addUp(made []probes.Call) float64 {
	var all tally
	for _, c := range made {
		all.add(c.Function[strings.LastIndex(c.Function, ".")+1:], c.Took)
	}
	if h.tracing {
		fmt.Fprintf(h.stage.log, "  in calls of the driver:\n%s", all)
	}
	return ms(all.sum())
}
