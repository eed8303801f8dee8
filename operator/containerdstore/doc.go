// Package containerdstore reads containerd's records of images, containers and snapshots in
// its root directory, and the snapshotter's own records on the dataset. It never writes.
//
// containerd's records are a bbolt database, io.containerd.metadata.v1.bolt/meta.db. The
// package reads schema v1, which containerd 1.7 writes in version 3 and containerd 2 in
// version 4. The versions differ in sandboxes alone, which it does not read. The contents
// of images (manifests, configurations, layers) are files named by their digests.
//
// containerd may be running: package boltcopy reads a copy of one moment.
//
// Input is treated as hostile: file sizes are bounded, names and digests are checked, and
// no path leads out of the root (os.Root). A record of another form is listed in
// Records.Damaged.
//
//	root.go        opens containerd's root, reads bounded files
//	records.go     Records: what containerd knows of a snapshotter's snapshots
//	decode.go      the buckets of the database
//	backend.go     the snapshotter's records: which layer a snapshot has
//	content.go     manifests and configurations of images
//	tar.go         the tar of a layer, as a record to compare files with
//	pod.go         the names that Kubernetes and nerdctl give a container
//	find.go        finds the root of the containerd that uses a snapshotter
//
// Package snapshotter writes the records on the dataset; docs/decisions/0015 orders them.
package containerdstore
