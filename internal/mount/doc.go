// Package mount describes mounts as values and executes them.
//
// A Mount is built by a pure function (Overlay, and package zfs for datasets)
// and executed in one place, by direct system calls: nothing is forked and no
// string passes through a shell or a helper. The package also reads what is
// mounted below a directory, which is where reference counts come from after
// a restart.
//
// What does not live here: which layers to stack, when to mount, and what a
// mount means. That is package overlayzfs.
package mount
