// Package mount describes mounts as values and executes them.
//
// A pure function builds a Mount (Overlay, and package zfs for datasets). Mount.Do executes
// it with direct system calls: nothing is forked, and no string passes through a shell or
// helper. docs/decisions/0019 says why the calls are direct. The package also lists the
// mounts below a directory, from which reference counts are rebuilt after a restart.
//
// Which layers to stack and when to mount is for package overlayzfs to say.
package mount
