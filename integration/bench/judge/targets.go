package judge

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

const mib = 1 << 20

// Targets are those of the project, in the order of its promises.
func Targets() []Target {
	vs := func(title, row, ours, peer string, rule Rule, want float64) Target {
		return Target{title, Side{row, ours}, Side{row, peer}, rule, want}
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
		Target{"changes, one file: no more with 100,000 files below than with 5,500",
			Side{"changes.many.1", result.Ours}, Side{"changes.base.1", result.Ours}, Within, 1.5},
	)
	targets = append(targets, diffSizes()...)
	targets = append(targets,
		vs("remove a base layer: overlay2", "remove.base", result.Ours, result.Overlay2, Faster, 50),
		Target{"start with 10,000 layers, in ms, against none", Side{"start.10000", result.Ours}, Side{"start.0", result.Ours}, More, 100},
		Target{"disk of 100 containers beyond the image, bytes", Side{"containers.100.disk", result.Ours}, Side{}, Below, mib},
		Target{"100 containers: the last mount against the first", Side{"containers.100.last", result.Ours}, Side{"containers.100.first", result.Ours}, Within, 2},
		Target{"memory of the plugin over everything, bytes", Side{"memory.peak", result.Ours}, Side{}, Below, 64 * mib},
		Target{"memory after 10,000 layers against 1,000", Side{"cycles.rss.late", result.Ours}, Side{"cycles.rss.early", result.Ours}, Within, 1.1},
		Target{"goroutines after 500 layers against before", Side{"cycles.goroutines.late", result.OursInProcess}, Side{"cycles.goroutines.early", result.OursInProcess}, Within, 1},
		vs("20-step build, storage calls of BuildKit: moby's zfs", "build.buildkit", result.Ours, result.ZFS, Faster, 50),
		vs("20-step build, storage calls of the classic builder: moby's zfs", "build.classic", result.Ours, result.ZFS, Faster, 50),
	)
	return append(targets, engineTargets()...)
}

func diffSizes() (targets []Target) {
	for _, n := range []int{1, 100, 10_000} {
		row := fmt.Sprintf("diffsize.base.%d", n)
		for _, ours := range []string{result.Ours, result.OursInProcess} {
			title := fmt.Sprintf("size of %d changed files, %s: overlay2", n, ours)
			targets = append(targets, Target{title, Side{row, ours}, Side{row, result.Overlay2}, Within, 1})
		}
	}
	return targets
}
