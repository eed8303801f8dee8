// Package overlayzfs keeps container layers as overlayfs directories on one
// ZFS dataset. It is the core behind every door: it knows layers, and neither
// Docker's graphdriver protocol nor containerd's snapshots API.
//
// # States of a layer
//
// A layer is
//
//   - building: made by Create without ReadWrite and not yet given content.
//     It becomes ready by its first Get, ApplyDiff, Diff or child, or by a
//     start of the driver that finds no diff being applied to it.
//   - ready: everything else that exists.
//   - removing: renamed out of the way, its files being deleted.
//
// Each change of state is one atomic step on disk: a rename or the unlinking
// of a marker. (A full dataset takes no rename; there a layer is removed where
// it is, and can be removed again when that was cut short.) Exists is true for
// building and ready layers. When a process ends at any instruction, the next
// Open finishes what is removing, removes the layers to which a diff was being
// applied, and never touches what is ready. A diff that was cut short is never
// continued: dockerd comes back with a stream that is already spent.
//
// # What is durable when
//
// A caller records a layer once Create, ApplyDiff or Diff has answered. Each of these ends with one barrier, a syncfs of the dataset:
// with sync=standard or always a power cut afterwards cannot take the layer.
// With sync=disabled syncfs saves nothing, and the last few seconds can be
// lost, in order.
//
// # Mounts and references
//
// Get mounts and counts, Put counts and unmounts. The counts outlive the process
// and end with the session of whoever took them (Restart); what is mounted
// counts as one reference at least. A base layer has nothing below it and is not
// mounted at all: Get returns its directory.
//
// The layout on disk is overlay2's; docs/on-disk-format.md describes it.
package overlayzfs
