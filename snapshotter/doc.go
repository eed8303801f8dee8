// Package snapshotter is containerd's door to the layers: its snapshots API
// over package overlayzfs.
//
// What lives here is what containerd's terms mean in the core's (names, kinds,
// labels, mounts, usage, classes of errors), the records that tie a snapshot's
// name to a layer, their order against what is on disk, and the gRPC server.
// Layers, limits, durability and recovery of layers live in package
// overlayzfs; flags, configuration and signals in cmd/overlayzfs-snapshotter.
//
// # A snapshot and its layer
//
// Names are containerd's and arbitrary. Its metadata store, kept on the dataset
// itself, gives each snapshot a number that is never used again, and that is
// the ID of its layer. A view of a snapshot has no layer: its mount is made of
// those below.
//
// # Order
//
// A record is made before its layer and deleted before it, and a snapshot's
// content is on disk before the record says that it is committed. So at any
// instant a layer without a record is nobody's, an active snapshot without a
// layer was never answered, and a committed one is whole. Open and Cleanup put
// the first two in order. docs/decisions/0015 has the reasons.
package snapshotter
