//go:build vm

package e2e

import (
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// TestLifecycleInPlace runs an engine whose data-root lies on ZFS, without a dataset
// for the layers: the store is used in place.
func TestLifecycleInPlace(t *testing.T) {
	const dataset = "tank/inplace"
	engine.CreateDataset(t, dataset)
	root := makeDataRoot(t)
	run(t, "mount", "-t", "zfs", dataset, root)
	t.Cleanup(func() { run(t, "umount", root) })
	bare := listMountsBelow(t, root, dataset)
	e := engine.Start(t, engine.Options{Root: root, Driver: "vfs"})
	e.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	e.Docker(t, "plugin", "enable", engine.PluginName)
	e.Stop(t)
	e.Driver = engine.PluginName
	e.Again(t)
	requireDriverInfo(t, e, dataset)
	s := &testEngine{Engine: e, dataset: dataset}
	s.recordBaseline(t)

	importTiny(t, e, "tiny")
	buildImage(t, e, "built")
	startContainer(t, e, "kept")
	e.Stop(t)
	if err := poll(func() error { return compareLists(listMountsBelow(t, root, dataset), bare) }); err != nil {
		t.Errorf("mounts of a stopped engine: %v", err)
	}
	e.Again(t)
	e.StartContainers(t, "kept")
	requireIntact(t, e, "kept")
	e.RemoveContainers(t, "kept")
	if out := runTiny(t, e, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	verifyImage(t, e, "built")
	e.Docker(t, "rmi", "built", "tiny")
	s.requireBaseline(t)
	e.Stop(t)
	if err := poll(func() error { return compareLists(listMountsBelow(t, root, dataset), bare) }); err != nil {
		t.Errorf("mounts of a stopped engine: %v", err)
	}
}
