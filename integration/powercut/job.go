package powercut

import (
	"cmp"
	"encoding/json"
	"os"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/integration/vm"
)

// job is the errand of the next machine.
func (s *series) job(last bool) (*vm.Job, error) {
	plan, err := json.Marshal(wire.Plan{
		Tier: string(s.Tier), Driver: s.Driver, Sync: s.Sync, Seed: s.Seed, Round: s.round,
		Workers: s.size().workers, Most: most, Layers: s.book.plan(), Last: last,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.path(wire.PlanFile), plan, 0o644); err != nil {
		return nil, err
	}
	return &vm.Job{
		Command: []string{vm.JobDir + "/" + loadProgram, vm.TalkPort},
		Env: map[string]string{
			"OVERLAYZFS_PLUGIN":      vm.JobDir + "/" + pluginProgram,
			"OVERLAYZFS_PLUGIN_DIR":  vm.JobDir + "/plugin",
			"OVERLAYZFS_DIST":        vm.JobDir + "/dist",
			"OVERLAYZFS_SNAPSHOTTER": vm.JobDir + "/" + snapshotterProgram,
			"OVERLAYZFS_LOG_LEVEL":   cmp.Or(os.Getenv("OVERLAYZFS_LOG_LEVEL"), "warn"),
		},
		Files: s.files(),
		Merge: true,
	}, nil
}

const (
	loadProgram        = "cutload"
	pluginProgram      = "overlayzfs-plugin"
	snapshotterProgram = "overlayzfs-snapshotter"
)

// files are what the round needs: each megabyte costs a machine some 10 ms.
func (s *series) files() []vm.File {
	files := []vm.File{
		{Host: s.path(wire.PlanFile), Guest: wire.PlanFile},
		{Host: s.Load, Guest: loadProgram, Executable: true},
	}
	config := vm.File{Host: s.PluginConfig, Guest: "plugin/config.json"}
	switch {
	case s.Driver == Snapshotter:
		files = append(files, vm.File{Host: s.Snapshotter, Guest: snapshotterProgram, Executable: true})
		if s.Tier == EngineTier {
			files = append(files, vm.File{Host: s.Dist, Guest: "dist"})
		}
	case s.Driver == Plugin && s.Tier == DriverTier:
		files = append(files, vm.File{Host: s.Plugin, Guest: pluginProgram, Executable: true}, config)
	case s.Driver == Plugin && s.round == 1: // the engine installs it
		files = append(files, vm.File{Host: s.Plugin, Guest: "plugin/rootfs/" + pluginProgram, Executable: true}, config)
	}
	return files
}
