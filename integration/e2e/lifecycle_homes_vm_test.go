//go:build vm

package e2e

import (
	"errors"
	"os"
	"strings"
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
	e.Docker(t, "start", "kept")
	requireIntact(t, e, "kept")
	e.Docker(t, "rm", "-f", "kept")
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

// refusal is a start that must fail, and the words that the engine's log must contain.
type refusal struct {
	name string
	opts []string
	says []string
}

// TestLifecycleRefusedStarts starts engines with settings that cannot work. Each start
// says why and changes nothing. The next start with right settings finds everything.
func TestLifecycleRefusedStarts(t *testing.T) {
	const dataset, other, readonly, insensitive = "tank/refused", "tank/refused-other", "tank/refused-readonly", "tank/refused-insensitive"
	for _, name := range []string{dataset, other, readonly} {
		engine.CreateDataset(t, name)
	}
	run(t, "zfs", "set", "readonly=on", readonly)
	run(t, "zfs", "create", "-o", "mountpoint=legacy", "-o", "casesensitivity=insensitive", insensitive)
	t.Cleanup(func() { run(t, "zfs", "destroy", insensitive) })

	e := engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs", Config: map[string]any{}})
	s := &testEngine{Engine: e, dataset: dataset}
	e.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	e.Docker(t, "plugin", "enable", engine.PluginName)
	home := s.storeDir(t)
	s.Stop(t)
	s.Driver = engine.PluginName
	t.Run("NotOnZFS", func(t *testing.T) {
		s.requireRefusal(t, refusal{says: []string{"does not lie on ZFS", "zfs create", "overlayzfs.dataset=POOL/NAME"}})
		entries, err := os.ReadDir(home)
		if err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
			t.Errorf("the refused home: %v, %v", entries, err)
		}
	})
	before := make(map[string][]string)
	remember := func() {
		for _, name := range []string{dataset, other, readonly, insensitive} {
			before[name] = listFiles(t, name)
		}
	}
	nothingChanged := func(t *testing.T) {
		t.Helper()
		for name, content := range before {
			requireFilesUnchanged(t, name, content)
		}
		if t.Failed() {
			remember() // the next case reports its own changes only
		}
	}
	remember()
	for _, r := range []refusal{
		{"NoSuchDataset", []string{"overlayzfs.dataset=tank/nowhere"}, []string{"tank/nowhere", "zfs create"}},
		{"ReadOnly", []string{"overlayzfs.dataset=" + readonly}, []string{readonly, "read-only", "readonly=off"}},
		{"CaseInsensitive", []string{"overlayzfs.dataset=" + insensitive}, []string{insensitive, "casesensitivity"}},
		{"UnknownOption", []string{"overlayzfs.colour=red"}, []string{"unknown storage option", "overlayzfs.colour"}},
		{"Malformed", []string{"overlayzfs.dataset"}, []string{"want key=value"}},
		{"NoName", []string{"overlayzfs.dataset="}, []string{"overlayzfs.dataset"}},
		{"Size", []string{"overlayzfs.size=plenty"}, []string{"overlayzfs.size", "want a size such as 500M or 10G"}},
		{"Quota", []string{"overlayzfs.quota=some"}, []string{"overlayzfs.quota", "want auto, project, dataset or off"}},
		{"Snapshots", []string{"overlayzfs.snapshots=stop:0"}, []string{"overlayzfs.snapshots", "from 1 to 10000"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			s.requireRefusal(t, r)
			nothingChanged(t)
		})
	}
	// The remedy: start with another driver, set the option, go back.
	s.Driver = "vfs"
	s.Again(t)
	s.Docker(t, "plugin", "disable", engine.PluginName)
	s.Docker(t, "plugin", "set", engine.PluginName, "OVERLAYZFS_OPTS=overlayzfs.dataset="+dataset)
	s.Docker(t, "plugin", "enable", engine.PluginName)
	s.switchDriver(t, engine.PluginName)
	importTiny(t, e, "tiny")
	id := readImageID(t, e, "tiny")
	s.recordBaseline(t)
	s.Stop(t)
	s.requireStopped(t)

	remember()
	t.Run("HomeIsTaken", func(t *testing.T) {
		// The engine covers the plugin's mounts with a new one. An older mount in that
		// directory cannot replace the store's dataset.
		run(t, "mount", "-t", "zfs", other, home)
		s.Again(t)
		requireDriverInfo(t, e, dataset)
		if now := readImageID(t, e, "tiny"); now != id {
			t.Errorf("the image was %s and is %s", id, now)
		}
		s.Stop(t)
		for _, m := range listMounts(t) {
			if m.Target == home && m.Source == other {
				run(t, "umount", home)
			}
		}
		s.requireStopped(t)
		requireFilesUnchanged(t, other, before[other])
		remember() // this engine started, and owns the store now
	})
	t.Run("UsernsRemap", func(t *testing.T) {
		// The engine has another data-root for each mapping, with its own plugins.
		s.Config["userns-remap"] = "default"
		defer delete(s.Config, "userns-remap")
		s.Driver = "vfs"
		s.Again(t)
		s.InstallPlugin(t, other)
		s.Stop(t)
		s.Driver = engine.PluginName
		s.requireRefusal(t, refusal{says: []string{"userns-remap", "start dockerd without"}})
		nothingChanged(t)
		s.Driver = "vfs"
		s.Again(t)
		s.Stop(t)
		s.Driver = engine.PluginName
	})

	s.Again(t)
	if now := readImageID(t, e, "tiny"); now != id {
		t.Errorf("the image was %s and is %s", id, now)
	}
	if out := runTiny(t, e, "tiny", "cat", "/etc/marker"); out != "tiny" {
		t.Errorf("the image holds %q", out)
	}
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)

	// A restarted plugin begins with the last engine's parameters. They must not
	// prevent an engine with other parameters from starting.
	t.Run("DatasetChanged", func(t *testing.T) {
		s.Config["storage-opts"] = []string{"overlayzfs.dataset=" + other}
		defer delete(s.Config, "storage-opts")
		s.Again(t)
		requireDriverInfo(t, e, other)
		s.Stop(t)
		s.requireStopped(t)
	})
}

// requireRefusal starts the engine, which must fail and leave nothing behind.
func (s *testEngine) requireRefusal(t *testing.T, r refusal) {
	t.Helper()
	s.requireStartFailure(t, r)
	s.requireStopped(t)
}

// requireStartFailure starts the engine, which must fail and say why.
func (s *testEngine) requireStartFailure(t *testing.T, r refusal) {
	t.Helper()
	if r.opts != nil {
		s.Config["storage-opts"] = r.opts
		defer delete(s.Config, "storage-opts")
	}
	seen := len(s.Log(t))
	if err := s.TryAgain(); err == nil {
		s.Stop(t)
		t.Fatal("the engine started")
	}
	log := logSince(t, s.Engine, seen)
	said := findLine(log, "Failed to GetDriver graph")
	if !containsAll(said, r.says) {
		t.Errorf("the engine's log says\n%s\nwant all of %q; the whole log:\n%s", said, r.says, lastLines(log))
		return
	}
	t.Log(said)
}

func lastLines(log string) string {
	const most = 4000
	if len(log) > most {
		log = log[len(log)-most:]
	}
	return strings.TrimSpace(log)
}
