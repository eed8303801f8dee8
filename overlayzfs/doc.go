// Package overlayzfs keeps container layers as overlayfs directories on one
// ZFS dataset. It is the core behind every door: it knows layers, and neither
// Docker's graphdriver protocol nor containerd's snapshots API.
//
// # States of a layer
//
// A layer is
//
//   - building: made by Create without ReadWrite and not yet given content.
//     A start of the driver keeps it only where a caller may come back for it.
//   - mutable: a building layer that was mounted, a build step at work. It stays
//     so until a Diff, a child or its removal.
//   - ready: everything else that exists.
//   - removing: renamed out of the way, its files being deleted.
//
// Each change of state is one atomic step on disk: a rename or the unlinking
// of a marker. (A full dataset takes no rename; there a layer is removed where
// it is, and can be removed again when that was cut short.) Exists is true for
// all but the last. When a process ends at any instruction, the next
// Open finishes what is removing, removes the layers to which a diff was being
// applied, and never touches what is ready. A diff that was cut short is never
// continued: dockerd comes back with a stream that is already spent.
//
// # What is durable when
//
// A caller records a layer once Create, ApplyDiff, Diff or, for a build step,
// the last Put has answered: a power cut afterwards cannot take it or tear it,
// whatever the dataset's sync property says. ApplyDiff, Diff and that Put wait
// for the transaction group, once for all that end at the same time; Create,
// which makes only a few directories, waits for the intent log where that works.
//
// What a container writes is durable as the dataset's sync property has it: with
// standard what was fsynced, with disabled all but the last seconds, in order. A
// build step is mounted volatile: in it fsync means nothing, and its end all.
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
