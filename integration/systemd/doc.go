// Package systemd tests the units under dist/ with a real systemd, in the lab (build tag
// vm). The lab's guest does not boot with systemd. The tests run systemd in its own name
// spaces (processes, mounts, control groups); all of its processes end with it.
// One test follows docs/quickstart-snapshotter.md from the first command to the last.
//
// Package containerd tests the daemon without systemd.
package systemd
