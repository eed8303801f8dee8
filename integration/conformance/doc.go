// Package conformance runs moby's graphdriver conformance suite against the plugin, through
// its socket and moby's own plugin proxy: the path from dockerd to the dataset, without
// dockerd. The same suite runs on moby's overlay2 and vfs, so that a difference shows
// which driver causes it.
//
// The tests need root and a TMPDIR on ZFS. The lab provides both.
package conformance
