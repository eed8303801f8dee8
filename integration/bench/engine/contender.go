package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	harness "github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"

	"github.com/overlayzfs/overlayzfs/integration/bench/probes"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// contender is a storage driver with its settings.
type contender struct {
	key    string // on the command line, and in names of datasets
	name   string // in reports
	driver string
	sync   string // of the dataset with the layers
	once   bool   // slow: races in the first round only
	plugin string // directory of the plugin, for ours
}

// contenders are all contenders. The engine's own records lie on a dataset with
// sync=standard, except where layers cannot lie elsewhere.
var contenders = []contender{
	{key: "overlayzfs", name: result.Ours, driver: harness.PluginName, sync: "standard"},
	{key: "overlayzfs-nosync", name: result.OursDisabled, driver: harness.PluginName, sync: "disabled"},
	{key: "overlay2", name: result.Overlay2, driver: "overlay2", sync: "standard"},
	{key: "overlay2-nosync", name: result.Overlay2Dis, driver: "overlay2", sync: "disabled"},
	{key: "zfs", name: result.ZFS, driver: "zfs", sync: "standard"},
	{key: "vfs", name: result.VFS, driver: "vfs", sync: "standard", once: true},
}

// Default are the contenders of a race by default. The storage race has sync=disabled.
var Default = []string{"overlayzfs", "overlay2", "zfs"}

func (c contender) isOurs() bool { return c.driver == harness.PluginName }

// expandBuilds returns a contender for each build of the plugin.
func (c contender) expandBuilds(plugin, other string) []contender {
	if !c.isOurs() {
		return []contender{c}
	}
	c.plugin = plugin
	if other == "" {
		return []contender{c}
	}
	second := c
	second.key, second.name, second.plugin = c.key+"-other", c.name+", other build", other
	return []contender{c, second}
}

// raceEngine is a contender's running engine.
type raceEngine struct {
	contender
	*harness.Engine
	*api
	stub    *testingStub
	tracer  *probes.Tracer // nil when calls cannot be traced
	tracing bool           // print the calls of each kind
	pool    string
	dataset string // the root of all its datasets
}

// startContender starts a contender's engine and loads the base image. The stub's close
// stops the engine and destroys its datasets.
func startContender(ctx context.Context, s *testingStub, c contender, o Options) (*raceEngine, error) {
	h := &raceEngine{contender: c, stub: s, tracing: o.Trace, pool: o.Pool, dataset: o.Pool + "/race-" + c.key}
	if err := h.makeDatasets(ctx); err != nil {
		return nil, err
	}
	if err := s.try(func() { h.launch(o) }); err != nil {
		return nil, err
	}
	h.api = newAPI(h.Host())
	h.attachTracer()
	return h, errors.Join(h.loadBase(ctx), h.loadMany(ctx, o.Changer))
}

// layersDataset returns the dataset of the plugin's layers. Drivers in dockerd keep
// layers in the data-root.
func (h *raceEngine) layersDataset() string { return h.dataset + "/layers" }

func (h *raceEngine) dataRoot() string { return filepath.Join("/", h.dataset, "docker") }

func (h *raceEngine) makeDatasets(ctx context.Context) error {
	args := []string{"create", "-o", "mountpoint=/" + h.dataset}
	if !h.isOurs() {
		args = append(args, "-o", "sync="+h.sync)
	}
	if _, err := runCommand(ctx, "zfs", append(args, h.dataset)...); err != nil {
		return err
	}
	h.stub.Cleanup(h.destroyDatasets)
	if !h.isOurs() {
		return nil
	}
	_, err := runCommand(ctx, "zfs", "create", "-o", "mountpoint=legacy", "-o", "sync="+h.sync, h.layersDataset())
	return err
}

// destroyDatasets destroys the contender's datasets. A mount can outlive the engine by
// a moment.
func (h *raceEngine) destroyDatasets() {
	ctx := context.Background()
	err := inguest.Poll(ctx, func() error {
		_, err := runCommand(ctx, "zfs", "destroy", "-r", h.dataset)
		return err
	})
	if err == nil {
		err = os.Remove("/" + h.dataset)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.stub.Errorf("%s: %w", h.key, err)
	}
}

// launch starts the engine. As a user has to, it starts on vfs first, to install the
// plugin.
func (h *raceEngine) launch(o Options) {
	options := harness.Options{Root: h.dataRoot(), Driver: h.driver}
	if !h.isOurs() {
		h.Engine = harness.Start(h.stub, options)
		return
	}
	options.Driver = "vfs"
	h.Engine = harness.Start(h.stub, options)
	h.installPlugin(o)
	h.Stop(h.stub)
	h.Driver = h.driver
	h.Again(h.stub)
}

func (h *raceEngine) installPlugin(o Options) {
	h.Docker(h.stub, "plugin", "create", harness.PluginName, h.plugin)
	settings := []string{"OVERLAYZFS_OPTS=overlayzfs.dataset=" + h.layersDataset()}
	if o.Trace {
		settings = append(settings, "OVERLAYZFS_LOG_LEVEL=debug")
	}
	h.Docker(h.stub, append([]string{"plugin", "set", harness.PluginName}, settings...)...)
	h.Docker(h.stub, "plugin", "enable", harness.PluginName)
}

func (h *raceEngine) loadBase(ctx context.Context) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	layer, err := makeBaseLayer(program)
	if err != nil {
		return err
	}
	image, err := makeImage(baseImage, layer)
	if err != nil {
		return err
	}
	if err := h.load(ctx, image); err != nil {
		return fmt.Errorf("load the base image: %w", err)
	}
	return nil
}

// loadMany loads the image whose files are changed.
func (h *raceEngine) loadMany(ctx context.Context, program string) error {
	image, err := makeManyImage(manyImage, program)
	if err != nil {
		return err
	}
	if err := h.load(ctx, image); err != nil {
		return fmt.Errorf("load the image of files to change: %w", err)
	}
	return nil
}
