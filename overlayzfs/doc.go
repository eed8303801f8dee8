// Package overlayzfs keeps container layers as overlayfs directories on one
// ZFS dataset. It is the core behind every door: it knows layers, and neither
// Docker's graphdriver protocol nor containerd's snapshots API.
//
// # States of a layer
//
// A layer is
//
//   - building: made by Create without ReadWrite and not yet given content.
//     It becomes ready by its first Get, ApplyDiff, Diff or child.
//   - ready: everything else that exists.
//   - removing: renamed out of the way, its files being deleted.
//
// Each change of state is one atomic step on disk: a rename or the unlinking
// of a marker. Exists is true for building and ready layers. When a process
// ends at any instruction, the next Open finishes what is removing, drops
// what is building (whoever would have filled it is gone, and dockerd comes
// back with a stream that is already spent), and never touches what is ready.
//
// # What is durable when
//
// A caller records a layer once ApplyDiff, Diff or a ReadWrite Create has
// answered. Each of these ends with one barrier, a syncfs of the dataset:
// with sync=standard or always a power cut afterwards cannot take the layer.
// With sync=disabled syncfs saves nothing, and the last few seconds can be
// lost, in order.
//
// # Mounts and references
//
// Get mounts and counts, Put counts and unmounts. What is mounted at Open
// counts as one reference. A base layer has nothing below it and is not
// mounted at all: Get returns its directory.
//
// The layout on disk is overlay2's; docs/on-disk-format.md describes it.
package overlayzfs
