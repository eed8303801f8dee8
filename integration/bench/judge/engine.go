package judge

import "github.com/overlayzfs/overlayzfs/integration/bench/result"

// engineTargets returns the targets on whole engines, which package bench/engine
// measures.
func engineTargets() (targets []Target) {
	for _, builder := range []struct{ slug, name string }{{"buildkit", "BuildKit"}, {"classic", "classic builder"}} {
		row := "engine.build." + builder.slug
		targets = append(targets,
			Target{Title: "20-step build on dockerd, " + builder.name + ", time in the driver: moby's zfs",
				Ours: Side{row + ".storage", result.Ours}, Other: Side{row + ".storage", result.ZFS}, Rule: Faster, Want: 50},
			Target{Title: "20-step build on dockerd, " + builder.name + ", all of it: overlay2",
				Ours: Side{row, result.Ours}, Other: Side{row, result.Overlay2}, Rule: Faster, Want: 1},
		)
	}
	return targets
}
