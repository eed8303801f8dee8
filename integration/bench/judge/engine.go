package judge

import "github.com/overlayzfs/overlayzfs/integration/bench/result"

// engineTargets returns the targets on whole engines, which package bench/engine
// measures.
func engineTargets() (targets []Target) {
	for _, row := range []struct{ id, title string }{
		{"engine.build.buildkit", "20-step build on dockerd, BuildKit"},
		{"engine.build.classic", "20-step build on dockerd, classic builder"},
		{"engine.load", "docker load, 10 layers"},
		{"engine.run", "docker run --rm"},
		{"engine.three.commit", "docker commit of 3 containers"},
	} {
		targets = append(targets, compare(row.title+": overlay2", row.id, result.Ours, result.Overlay2, Faster, 1))
	}
	return append(append(targets, contentionTargets()...), storeTargets()...)
}

// contentionTargets returns the targets on limits, and on a container that writes.
func contentionTargets() []Target {
	return []Target{
		compare("first change of a file of 4 KB in a container of dockerd: overlay2", "engine.copyup", result.Ours, result.Overlay2, Faster, 10),
		compare("docker create and rm beside a container that writes, busy against idle: overlay2",
			"engine.busy.factor", result.Ours, result.Overlay2, Within, 1),
		oursTarget("what a limit adds to docker create and rm", "engine.limit.create", "engine.nolimit.create", More, 15, result.Milliseconds),
		oursTarget("what a limit adds to docker run --rm", "engine.limit.run", "engine.nolimit.run", More, 30, result.Milliseconds),
	}
}

// storeTargets returns the targets on an engine with the containerd image store.
func storeTargets() (targets []Target) {
	for _, row := range []struct{ id, where string }{
		{"engine.store.copyup.container", "in a container of Docker 28"},
		{"engine.store.copyup.step", "in a RUN step of Docker 28"},
		{"engine.store.copyup.ctr", "by ctr run"},
		{"engine.store.copyup.cri", "in a pod's container"},
	} {
		targets = append(targets, compare("first change of a file of 4 KB "+row.where+": containerd overlayfs",
			row.id, result.Snapshotter, result.ContainerdOverlayfs, Faster, 10))
	}
	return targets
}
