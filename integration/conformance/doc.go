// Package conformance runs moby's graphdriver conformance suite against the
// driver behind the plugin's socket, through moby's own plugin proxy: the
// whole way a layer takes from dockerd to the dataset, without dockerd. The
// same suite runs on moby's overlay2 and vfs beside it, so that a difference
// between them is ours to explain.
//
// Its tests need root and a TMPDIR on ZFS: the lab gives both.
package conformance
