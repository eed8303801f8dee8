// Package mount describes mounts as values and executes them.
//
// A pure function builds a Mount (Overlay, and package zfs for datasets). Mount.Do executes
// it with direct system calls: nothing is forked, and no string passes through a shell or
// helper. docs/decisions/0019 says why the calls are direct. The package also lists the
// mounts below a directory, from which reference counts are rebuilt after a restart.
//
// The files:
//
//   - mount.go, stepwise.go, detached.go, dir.go: Mount, and the system calls that execute it
//   - overlay.go, kernel.go: overlays, and what the kernel's overlayfs can do
//   - upperuse.go: whether an overlay has a directory as its upper directory
//   - tmpfile.go, tmpfile_answer.go, tmpfile_descriptors.go: the listener that keeps overlays
//     from copy-ups that wait; docs/decisions/0020 has the reasons
//   - table.go: the mount table
//
// Which layers to stack and when to mount is for package overlayzfs to say.
package mount
