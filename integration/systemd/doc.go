// Package systemd tests the units under dist/ with a real systemd, in the lab (build tag
// vm). The lab's guest does not boot with systemd. The tests run systemd in its own name
// spaces (processes, mounts, control groups); all of its processes end with it.
//
// Package containerd tests the daemon without systemd.
package systemd
