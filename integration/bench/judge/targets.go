package judge

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

const mib = 1 << 20

// Targets returns the project's targets.
func Targets() (targets []Target) {
	for _, some := range [][]Target{
		copyUpTargets(), layerTargets(), buildTargets(), engineTargets(), snapshotTargets(), tarTargets(), changesTargets(), processTargets(),
	} {
		targets = append(targets, some...)
	}
	for i := range targets {
		targets[i].Reason = findReason(targets[i])
	}
	return targets
}

// compare returns a target between two contenders in one row.
func compare(title, row, ours, peer string, rule Rule, want float64) Target {
	return Target{Title: title, Ours: Side{row, ours}, Other: Side{row, peer}, Rule: rule, Want: want}
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

func copyUpTargets() []Target {
	const first, row = "first change of a file of 4 KB", "copyup.small"
	return []Target{
		compare(first+": overlay2", row, result.Ours, result.Overlay2, Faster, 10),
		compare(first+": sync=disabled", row, result.Ours, result.OursDisabled, Within, 2),
	}
}

func layerTargets() []Target {
	return []Target{
		compare("create, mount, write, unmount a layer, in process: overlay2", "cycle", result.OursInProcess, result.Overlay2, Faster, 1),
		compare("create, mount, write, unmount a layer: overlay2", "cycle", result.Ours, result.Overlay2, Within, 1.2),
		compare("create, mount, write, unmount a layer: sync=disabled against standard", "cycle", result.OursDisabled, result.Ours, Within, 1.1),
		compare("remove a container's small layer: overlay2", "cycle.remove", result.Ours, result.Overlay2, Within, 1),
		compare("remove a container's small layer: sync=disabled against standard", "cycle.remove", result.OursDisabled, result.Ours, Within, 1.1),
		compare("remove a base layer, answered: overlay2", "remove.base", result.Ours, result.Overlay2, Faster, 100),
		compare("remove a base layer, to the end: overlay2", "removed.base", result.Ours, result.Overlay2, Faster, 1.5),
	}
}

// buildTargets returns the targets on build steps, and on the calls of the engine's
// builders.
func buildTargets() (targets []Target) {
	for _, b := range []struct{ row, title string }{
		{"cycle.step", "a build step"},
		{"build.buildkit", "20-step build, calls of BuildKit"},
		{"build.classic", "20-step build, calls of the classic builder"},
	} {
		targets = append(targets,
			compare(b.title+": overlay2", b.row, result.Ours, result.Overlay2, Faster, 1),
			compare(b.title+", both with sync=disabled: overlay2", b.row, result.OursDisabled, result.Overlay2Dis, Faster, 1),
			compare(b.title+": sync=disabled against standard", b.row, result.OursDisabled, result.Ours, Within, 1.1),
			compare(b.title+": moby's zfs", b.row, result.Ours, result.ZFS, Faster, 60),
		)
	}
	return targets
}

func snapshotTargets() (targets []Target) {
	for _, s := range []struct{ row, title string }{
		{"snapshot.cycle", "prepare, mounts, remove of a snapshot"},
		{"unpack.small", "unpack a small layer"},
		{"usage.small", "usage of a small layer, active"},
		{"usage.base", "usage of a base layer, active"},
	} {
		targets = append(targets, compare(s.title+": containerd overlayfs", s.row, result.Snapshotter, result.ContainerdOverlayfs, Within, 1.1))
	}
	return targets
}

func tarTargets() (targets []Target) {
	for _, l := range []struct {
		slug, title string
		overlay2    float64
	}{{"base", "the base layer", 1.3}, {"many", "100,000 files", 2}} {
		targets = append(targets,
			compare("apply "+l.title+", in process: GNU tar", "apply."+l.slug, result.OursInProcess, result.GNU, Faster, 1),
			compare("apply "+l.title+": overlay2", "apply."+l.slug, result.Ours, result.Overlay2, Faster, l.overlay2),
			compare("tar of "+l.title+", in process: GNU tar", "diff."+l.slug, result.OursInProcess, result.GNU, Faster, 1.5),
			compare("tar of "+l.title+": overlay2", "diff."+l.slug, result.Ours, result.Overlay2, Faster, l.overlay2),
		)
	}
	return append(targets,
		compare("apply 2 GB in 8 files: overlay2", "apply.large", result.Ours, result.Overlay2, Within, 1.1),
		compare("tar of 2 GB in 8 files: overlay2", "diff.large", result.Ours, result.Overlay2, Within, 1.1),
	)
}

func changesTargets() []Target {
	targets := []Target{
		compare("changes, one file: overlay2", "changes.base.1", result.Ours, result.Overlay2, Faster, 100),
		oursTarget("changes, one file: no more with 100,000 files below than with 5,500", "changes.many.1", "changes.base.1", Within, 1.5, ""),
	}
	for _, n := range []int{1, 100, 10_000} {
		for _, ours := range []string{result.Ours, result.OursInProcess} {
			targets = append(targets, compare(fmt.Sprintf("size of a layer, %d files changed of 5,500, %s: overlay2", n, ours),
				fmt.Sprintf("diffsize.base.%d", n), ours, result.Overlay2, Within, 1))
		}
	}
	return targets
}

// processTargets returns the targets on starts, disk space and memory.
func processTargets() []Target {
	return []Target{
		oursTarget("start after a boot of the host, 10,000 layers, cold", "start.cold", "", Below, 2000, result.Milliseconds),
		oursTarget("start with 10,000 layers against none", "start.10000", "start.0", More, 100, result.Milliseconds),
		oursTarget("disk of 100 containers beyond the image", "containers.100.disk", "", Below, mib, result.Bytes),
		oursTarget("100 containers: the last mount against the first", "containers.100.last", "containers.100.first", Within, 2, ""),
		oursTarget("memory of the plugin over everything", "memory.peak", "", Below, 64*mib, result.Bytes),
		oursTarget("memory of the plugin, started with 10,000 layers", "start.memory", "", Below, 64*mib, result.Bytes),
		oursTarget("memory after 10,000 layers against 1,000", "cycles.rss.late", "cycles.rss.early", Within, 1.1, ""),
		{
			Title: "goroutines after 500 layers against before", Rule: Within, Want: 1,
			Ours: Side{"cycles.goroutines.late", result.OursInProcess}, Other: Side{"cycles.goroutines.early", result.OursInProcess},
		},
	}
}
