// Package snapshotter is containerd's door to the layers: its snapshots API
// over package overlayzfs.
//
// The package translates containerd's terms into the core's: names, kinds, labels, mounts,
// usage, classes of errors. It keeps the records that tie a snapshot's name to a layer,
// orders them against the layers on disk, and serves gRPC. Layers, their limits, durability
// and recovery live in package overlayzfs; flags, configuration and signals in
// cmd/overlayzfs-snapshotter.
//
// The files:
//
//   - snapshotter.go: Open, Close
//   - prepare.go, commit.go, remove.go, mounts.go, info.go: the calls
//   - records.go, reconcile.go, reserve.go: the records, and what a crash leaves of them
//   - limits.go, idmap.go: what labels ask for
//   - limit.go, limitcall/: the operator changes a container's limit
//   - errors.go: classes of errors
//   - gate.go, serve.go, health.go: opening the store late, and the gRPC server
//
// # A snapshot and its layer
//
// containerd chooses the names, which are arbitrary. Its metadata store, a file on the
// dataset, gives each snapshot a number that is never used again: the ID of its layer. A
// view of a snapshot has no layer. Its mount consists of the layers of its parents.
//
// # Order
//
// A record is made before its layer and deleted before it. A snapshot's content is on disk
// before the record says "committed". So at any instant a layer without a record belongs to
// nobody, the call for an active snapshot without a layer was never answered, and a
// committed snapshot is whole. Open and Cleanup remove the first two.
// docs/decisions/0015 has the reasons.
package snapshotter
