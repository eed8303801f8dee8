// Package snapclient uses snapshots as containerd does, without a containerd. It connects
// to a snapshotter's socket, unpacks layers into the returned mounts with containerd's own
// code, and mounts snapshots.
//
// The power cuts and the race decide which calls to make.
package snapclient
