// Package snapshots runs containerd's own conformance suite against the snapshotter, in
// process and through its socket, beside containerd's overlayfs and zfs snapshotters on
// the same pool.
//
// These tests need OpenZFS; the tests of package snapshotter do not. Package containerd
// tests a whole containerd.
package snapshots
