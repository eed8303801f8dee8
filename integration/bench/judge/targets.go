package judge

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

const mib = 1 << 20

// Targets returns the project's targets.
func Targets() []Target {
	vs := func(title, row, ours, peer string, rule Rule, want float64) Target {
		return Target{Title: title, Ours: Side{row, ours}, Other: Side{row, peer}, Rule: rule, Want: want}
	}
	targets := []Target{
		vs("create, mount, write, unmount a layer: moby's zfs", "cycle", result.Ours, result.ZFS, Faster, 60),
		vs("create, mount, write, unmount a layer: overlay2", "cycle", result.Ours, result.Overlay2, Faster, 3),
		vs("the same without the socket: overlay2", "cycle", result.OursInProcess, result.Overlay2, Faster, 3),
		vs("create, mount, write, unmount a layer: sync=disabled against overlay2 on tmpfs", "cycle", result.OursDisabled, result.Overlay2Tmpfs, Within, 1.5),
		vs("copy-up of a small file: sync=disabled against overlay2 as people run it", "copyup.small", result.OursDisabled, result.Overlay2, Faster, 25),
	}
	for _, size := range []string{"base", "many"} {
		targets = append(targets,
			vs("apply, "+size+": GNU tar", "apply."+size, result.Ours, result.GNU, Faster, 1),
			vs("apply, "+size+": overlay2", "apply."+size, result.Ours, result.Overlay2, Faster, 2),
			vs("diff, "+size+": GNU tar", "diff."+size, result.Ours, result.GNU, Faster, 1),
			vs("diff, "+size+": overlay2", "diff."+size, result.Ours, result.Overlay2, Faster, 1.5),
		)
	}
	targets = append(targets,
		vs("changes, one file: overlay2", "changes.base.1", result.Ours, result.Overlay2, Faster, 100),
		oursTarget("changes, one file: no more with 100,000 files below than with 5,500", "changes.many.1", "changes.base.1", Within, 1.5, ""),
	)
	targets = append(targets, diffSizeTargets()...)
	targets = append(targets,
		vs("remove a base layer: overlay2", "remove.base", result.Ours, result.Overlay2, Faster, 50),
		oursTarget("start with 10,000 layers against none", "start.10000", "start.0", More, 100, result.Milliseconds),
		oursTarget("disk of 100 containers beyond the image", "containers.100.disk", "", Below, mib, result.Bytes),
		oursTarget("100 containers: the last mount against the first", "containers.100.last", "containers.100.first", Within, 2, ""),
		oursTarget("memory of the plugin over everything", "memory.peak", "", Below, 64*mib, result.Bytes),
		oursTarget("memory of the plugin, started with 10,000 layers", "start.memory", "", Below, 64*mib, result.Bytes),
		oursTarget("memory after 10,000 layers against 1,000", "cycles.rss.late", "cycles.rss.early", Within, 1.1, ""),
		Target{Title: "goroutines after 500 layers against before", Rule: Within, Want: 1,
			Ours: Side{"cycles.goroutines.late", result.OursInProcess}, Other: Side{"cycles.goroutines.early", result.OursInProcess}},
		vs("20-step build, storage calls of BuildKit: moby's zfs", "build.buildkit", result.Ours, result.ZFS, Faster, 50),
	)
	return append(targets, engineTargets()...)
}

// oursTarget returns a target that compares a figure of ours with another of ours, or
// with a constant.
func oursTarget(title, row, other string, rule Rule, want float64, unit result.Unit) Target {
	t := Target{Title: title, Ours: Side{row, result.Ours}, Rule: rule, Want: want, Unit: unit}
	if other != "" {
		t.Other = Side{other, result.Ours}
	}
	return t
}

func diffSizeTargets() (targets []Target) {
	add := func(image, below, ours string) {
		for _, n := range []int{1, 100, 10_000} {
			row := fmt.Sprintf("diffsize.%s.%d", image, n)
			targets = append(targets, Target{Title: fmt.Sprintf("size of a layer, %d files changed of %s, %s: overlay2", n, below, ours),
				Ours: Side{row, ours}, Other: Side{row, result.Overlay2}, Rule: Within, Want: 1})
		}
	}
	add("base", "5,500", result.Ours)
	add("base", "5,500", result.OursInProcess)
	add("many", "100,000", result.Ours)
	return targets
}
