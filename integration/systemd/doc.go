// Package systemd tests the units under dist/ with a systemd, in the lab (build
// tag vm). The lab's guests are not started by one: it runs in name spaces of
// its own (processes, mounts, control groups), and everything that it started
// ends with it.
//
// What the daemon does without systemd is package containerd's.
package systemd
