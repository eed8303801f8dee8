// Package snapshots holds containerd's own conformance suite against the
// snapshotter, in process and through its socket, beside containerd's overlayfs
// snapshotter on the same pool.
//
// What lives here needs a machine with OpenZFS; the tests of package snapshotter
// need none. A whole containerd is package containerd's.
package snapshots
