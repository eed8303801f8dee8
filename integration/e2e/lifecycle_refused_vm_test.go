//go:build vm

package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// Datasets of TestLifecycleRefusedStarts. The last two cannot hold a store.
const (
	refusedDataset     = "tank/refused"
	refusedOther       = "tank/refused-other"
	refusedReadOnly    = "tank/refused-readonly"
	refusedInsensitive = "tank/refused-insensitive"
)

// refusal is a start that must fail, and the words that the engine's log must contain.
type refusal struct {
	name string
	opts []string
	says []string
}

// TestLifecycleRefusedStarts starts engines with settings that cannot work. Each start
// says why and changes nothing. The next start with right settings finds everything.
func TestLifecycleRefusedStarts(t *testing.T) {
	s := newRefusedStarts(t)
	t.Run("NotOnZFS", s.refuseWithoutZFS)
	s.recordFiles(t)
	for _, r := range []refusal{
		{"NoSuchDataset", []string{"overlayzfs.dataset=tank/nowhere"}, []string{"tank/nowhere", "zfs create"}},
		{"ReadOnly", []string{"overlayzfs.dataset=" + refusedReadOnly}, []string{refusedReadOnly, "read-only", "readonly=off"}},
		{"CaseInsensitive", []string{"overlayzfs.dataset=" + refusedInsensitive}, []string{refusedInsensitive, "casesensitivity"}},
		{"UnknownOption", []string{"overlayzfs.colour=red"}, []string{"unknown storage option", "overlayzfs.colour"}},
		{"Malformed", []string{"overlayzfs.dataset"}, []string{"want key=value"}},
		{"NoName", []string{"overlayzfs.dataset="}, []string{"overlayzfs.dataset"}},
		{"Size", []string{"overlayzfs.size=plenty"}, []string{"overlayzfs.size", "want a size such as 500M or 10G"}},
		{"Quota", []string{"overlayzfs.quota=some"}, []string{"overlayzfs.quota", "want auto, project, dataset or off"}},
		{"Snapshots", []string{"overlayzfs.snapshots=stop:0"}, []string{"overlayzfs.snapshots", "from 1 to 10000"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			s.requireRefusal(t, r)
			s.requireNoFileChanged(t)
		})
	}
	s.setDataset(t)
	s.recordFiles(t)
	t.Run("HomeIsTaken", s.startOverAnotherMount)
	t.Run("UsernsRemap", s.refuseUsernsRemap)
	s.Again(t)
	s.requireImage(t)
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
	t.Run("DatasetChanged", s.startOnAnotherDataset)
}

// refusedStarts is the engine of TestLifecycleRefusedStarts.
type refusedStarts struct {
	*testEngine
	home   string
	files  map[string][]string // of each dataset
	tinyID string
}

// newRefusedStarts installs the plugin, without a dataset, and stops the engine.
func newRefusedStarts(t *testing.T) *refusedStarts {
	t.Helper()
	for _, name := range []string{refusedDataset, refusedOther, refusedReadOnly} {
		engine.CreateDataset(t, name)
	}
	run(t, "zfs", "set", "readonly=on", refusedReadOnly)
	run(t, "zfs", "create", "-o", "mountpoint=legacy", "-o", "casesensitivity=insensitive", refusedInsensitive)
	t.Cleanup(func() { run(t, "zfs", "destroy", refusedInsensitive) })

	e := engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs", Config: map[string]any{}, Containerd: startContainerd(t)})
	s := &refusedStarts{testEngine: &testEngine{Engine: e, dataset: refusedDataset}, files: make(map[string][]string)}
	e.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	e.Docker(t, "plugin", "enable", engine.PluginName)
	s.home = s.storeDir(t)
	s.Stop(t)
	s.Driver = engine.PluginName
	return s
}

// recordFiles records the files of all datasets, which requireNoFileChanged compares
// with.
func (s *refusedStarts) recordFiles(t *testing.T) {
	t.Helper()
	for _, name := range []string{refusedDataset, refusedOther, refusedReadOnly, refusedInsensitive} {
		s.files[name] = listFiles(t, name)
	}
}

// requireNoFileChanged fails the test when a dataset has changed.
func (s *refusedStarts) requireNoFileChanged(t *testing.T) {
	t.Helper()
	for name, files := range s.files {
		requireFilesUnchanged(t, name, files)
	}
	if t.Failed() {
		s.recordFiles(t) // the next case reports its own changes only
	}
}

// requireImage fails the test unless the image tiny is as it was imported.
func (s *refusedStarts) requireImage(t *testing.T) {
	t.Helper()
	if now := readImageID(t, s.Engine, "tiny"); now != s.tinyID {
		t.Errorf("the image was %s and is %s", s.tinyID, now)
	}
	if out := runTiny(t, s.Engine, "tiny", "cat", "/etc/marker"); out != "tiny" {
		t.Errorf("the image holds %q", out)
	}
}

// refuseWithoutZFS starts the engine with a data-root that is not on ZFS, and without a
// dataset.
func (s *refusedStarts) refuseWithoutZFS(t *testing.T) {
	s.requireRefusal(t, refusal{says: []string{"does not lie on ZFS", "zfs create", "overlayzfs.dataset=POOL/NAME"}})
	entries, err := os.ReadDir(s.home)
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
		t.Errorf("the refused home: %v, %v", entries, err)
	}
}

// setDataset applies the remedy: start with another driver, set the option, go back.
func (s *refusedStarts) setDataset(t *testing.T) {
	t.Helper()
	s.Driver = "vfs"
	s.Again(t)
	s.Docker(t, "plugin", "disable", engine.PluginName)
	s.Docker(t, "plugin", "set", engine.PluginName, "OVERLAYZFS_OPTS=overlayzfs.dataset="+refusedDataset)
	s.Docker(t, "plugin", "enable", engine.PluginName)
	s.switchDriver(t, engine.PluginName)
	importTiny(t, s.Engine, "tiny")
	s.tinyID = readImageID(t, s.Engine, "tiny")
	s.recordBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
}

// startOverAnotherMount starts the engine with another dataset mounted on the plugin's
// directory. The engine covers that directory with a new mount, so that an older one
// cannot replace the store's dataset.
func (s *refusedStarts) startOverAnotherMount(t *testing.T) {
	run(t, "mount", "-t", "zfs", refusedOther, s.home)
	s.Again(t)
	requireDriverInfo(t, s.Engine, refusedDataset)
	if now := readImageID(t, s.Engine, "tiny"); now != s.tinyID {
		t.Errorf("the image was %s and is %s", s.tinyID, now)
	}
	s.Stop(t)
	for _, m := range listMounts(t) {
		if m.Target == s.home && m.Source == refusedOther {
			run(t, "umount", s.home)
		}
	}
	s.requireStopped(t)
	requireFilesUnchanged(t, refusedOther, s.files[refusedOther])
	s.recordFiles(t) // this engine started, and owns the store now
}

// refuseUsernsRemap starts the engine with userns-remap. The engine has another data-root
// for each mapping, with its own plugins.
func (s *refusedStarts) refuseUsernsRemap(t *testing.T) {
	s.Config["userns-remap"] = "default"
	defer delete(s.Config, "userns-remap")
	s.Driver = "vfs"
	s.Again(t)
	s.InstallPlugin(t, refusedOther)
	s.Stop(t)
	s.Driver = engine.PluginName
	s.requireRefusal(t, refusal{says: []string{"userns-remap", "start dockerd without"}})
	s.requireNoFileChanged(t)
	s.Driver = "vfs"
	s.Again(t)
	s.Stop(t)
	s.Driver = engine.PluginName
}

// startOnAnotherDataset starts the engine with another dataset. A restarted plugin begins
// with the last engine's parameters, which must not prevent that.
func (s *refusedStarts) startOnAnotherDataset(t *testing.T) {
	s.Config["storage-opts"] = []string{"overlayzfs.dataset=" + refusedOther}
	defer delete(s.Config, "storage-opts")
	s.Again(t)
	requireDriverInfo(t, s.Engine, refusedOther)
	s.Stop(t)
	s.requireStopped(t)
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
