package judge

import "github.com/overlayzfs/overlayzfs/integration/bench/result"

// engineTargets are those on whole engines: integration/bench/engine measures
// them.
func engineTargets() (targets []Target) {
	for _, builder := range []struct{ slug, name string }{{"buildkit", "BuildKit"}, {"classic", "classic builder"}} {
		row := "engine.build." + builder.slug
		targets = append(targets,
			Target{"20-step build on dockerd, " + builder.name + ", time in the driver: moby's zfs",
				Side{row + ".storage", result.Ours}, Side{row + ".storage", result.ZFS}, Faster, 50},
			Target{"20-step build on dockerd, " + builder.name + ", all of it: overlay2",
				Side{row, result.Ours}, Side{row, result.Overlay2}, Faster, 1},
		)
	}
	return targets
}
