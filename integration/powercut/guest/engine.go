package guest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

const (
	// rootDataset holds the engine's own records, with sync=standard: what it
	// has recorded survives, which is what its layers are measured by.
	rootDataset = "tank/data"
	dataRoot    = "/tank/data/docker"
	baseImage   = "cut:base"
)

// house is an engine at work.
type house struct {
	*wire.Plan
	*engine.Engine
	line *wire.Line
	root []byte // the layer that all images stand on
	// unlimited is set when the driver knows no limits, or the engine asks for
	// none.
	unlimited bool
	// containerd is there when the engine keeps its images in one.
	containerd *engine.Containerd
	// recorded are the snapshots that it had in its records when it started.
	recorded map[string]bool
}

// engineErrand is a round of the tier with the whole engine.
func engineErrand(ctx context.Context, plan *wire.Plan, line *wire.Line) error {
	h := &house{Plan: plan, line: line}
	if err := h.open(ctx); err != nil {
		return err
	}
	if err := h.check(ctx); err != nil {
		return err
	}
	if plan.Last {
		return nil
	}
	if err := h.prepare(); err != nil {
		return err
	}
	if _, err := line.Say(wire.Event{Verb: wire.Load}); err != nil {
		return err
	}
	return h.run(ctx)
}

// open starts the engine. That it starts is the first thing to be shown.
func (h *house) open(ctx context.Context) error {
	first := h.Round == 1
	if first {
		if err := h.makeDatasets(); err != nil {
			return err
		}
	}
	start := h.start
	if h.Driver == snapshotterDriver {
		if err := h.checkRecords(ctx); err != nil {
			return err
		}
		start = h.startOnContainerd
	}
	if err := try(func(t testing.TB) { start(t, first) }); err != nil {
		return err
	}
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	h.root, err = layers.Root(program)
	return err
}

// makeDatasets makes one for the engine's records and one for layers. overlay2
// keeps both in one place, as it is installed.
func (h *house) makeDatasets() error {
	if _, err := command("zfs", "create", rootDataset); err != nil {
		return err
	}
	if h.Driver == overlay2Driver {
		_, err := command("zfs", "set", "sync="+h.Sync, rootDataset)
		return err
	}
	_, err := command("zfs", "create", "-o", "mountpoint=legacy", "-o", "sync="+h.Sync, dataset)
	return err
}

func (h *house) start(t testing.TB, first bool) {
	o := engine.Options{Root: dataRoot, Driver: h.Driver}
	if !first || o.Driver != engine.PluginName {
		h.Engine = engine.Start(t, o)
		return
	}
	o.Driver = "vfs"
	h.Engine = engine.Start(t, o)
	h.InstallPlugin(t, dataset)
	h.Stop(t)
	h.Engine.Driver = engine.PluginName
	h.Again(t)
}

// prepare makes the image that everything else is made from, unless it is
// there. The power is cut only after it is safe, with all of the installation.
func (h *house) prepare() error {
	if _, err := h.Try("image", "inspect", baseImage); err == nil {
		return nil
	}
	if err := h.loadArchive(baseImage, h.root); err != nil {
		return err
	}
	_, err := command("zpool", "sync")
	return err
}

func (h *house) loadArchive(name string, stack ...[]byte) error {
	raw, err := layers.Archive(name, stack...)
	if err != nil {
		return err
	}
	cmd := h.Command("load")
	cmd.Stdin = strings.NewReader(string(raw))
	return output(cmd)
}

// store is where the engine's layers lie.
func (h *house) store() (*store, error) {
	if h.Driver == overlay2Driver {
		return &store{home: filepath.Join(dataRoot, h.Driver), dataset: rootDataset}, nil
	}
	// The engine binds a plugin's directory to itself, so that it shows twice.
	out, err := command("findmnt", "-n", "-o", "TARGET", "-S", dataset)
	home, _, _ := strings.Cut(out, "\n")
	return &store{home: home, dataset: dataset}, err
}
