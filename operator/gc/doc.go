// Package gc decides which layers of a store are orphaned.
//
// A layer is orphaned when no record of Docker names it, under any name of the driver,
// and no recorded layer is above it. When the records cannot be read or do not fit the
// store, no layer is removed, because the records may be another engine's.
//
// The records count only when a token proves that they belong to the engine that used
// the store last (overlayzfs.Engine). A data-root that was copied and left behind cannot
// be told apart otherwise.
//
// A snapshotter's store has records of its own beside the layers. An orphan is a snapshot
// that they have and containerd lacks, or a layer without one. containerd makes its record
// after the snapshotter, and a crash between leaves an orphan; containerd's own garbage
// collection removes it only when it has removed another snapshot. Remove works with
// containerd and the snapshotter stopped, and keeps containerd from starting. The numbers in
// the names tell whether the containerd that made a snapshot is the one whose records
// decide.
//
// Examine reads the records and decides. Remove needs the store open, and so dockerd
// stopped, because a running dockerd creates layers before it records them.
package gc
