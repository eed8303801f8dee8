// Package overlayzfs manages container layers as overlayfs directories on one ZFS dataset.
// It is the core behind both doors: it knows layers, and neither Docker's graphdriver
// protocol nor containerd's snapshots API.
//
// # States of a layer
//
// A layer is in one of four states:
//
//   - building: Create without ReadWrite made it, and it has no content yet. A start of
//     the driver keeps it only where a caller may come back for it.
//   - mutable: a building layer that was mounted, which is a build step at work. It stays
//     mutable until a Diff, a child or its removal.
//   - ready: every other layer that exists.
//   - removing: it was renamed into the trash, and its files are being deleted.
//
// Each change of state is one atomic step on disk: a rename, or the unlinking of a mark. A
// full dataset refuses renames, so there a layer is removed in place. When that is cut
// short, the layer can be removed again.
//
// Exists is true in all states but removing. A process may end at any instruction. The next
// Open finishes removals and removes the layers to which a diff was being applied. It never
// touches ready layers. A diff that was cut short is never continued, because dockerd comes
// back with a stream that it has already read from.
//
// # Durability
//
// A caller records a layer once Create, ApplyDiff or Diff has answered. BuildKit records a
// build step after its last Put. From then on a power cut can neither take the layer nor
// tear it, whatever the dataset's sync property is. There is one exception: with
// sync=disabled a container's layer is as young as what the container writes, and a power
// cut may take it. ApplyDiff, Diff and that Put wait for
// the transaction group, and all calls that end at the same time share one wait. Create
// makes only a few directories and waits for the intent log, where that can be trusted.
//
// Data that a container writes is as durable as the dataset's sync property says. With
// standard, fsynced data is. With disabled, everything but the last seconds is, in order. A
// build step is mounted volatile: fsync means nothing in it, and its end makes all durable.
//
// # Mounts and references
//
// Get mounts a layer and counts its users. Put counts down and unmounts. The counts outlive
// the process, and Restart ends them with the session of their takers. A mounted layer has
// at least one reference. A base layer has no layer below it and is never mounted: Get
// returns its directory.
//
// # Files
//
// Most calls are told in one file, and their durability in barrier.go.
//
//	layer.go          names, IDs, short links, the layers below a layer
//	create.go         Create
//	access.go         Get, Put, Exists, Cleanup; build steps at work (mutable layers)
//	marks.go          building and mutable layers
//	unmount.go        the end of a mount, in the background
//	refcount.go       the users of mounted layers
//	diff.go           Diff, Changes, DiffSize
//	apply.go          ApplyDiff, Fill
//	barrier.go        the barriers: what each call waits for
//	intentlog.go      waits for the intent log; syncset.go: for what files hold
//	txgwait.go        waits for the transaction group
//	steptimes.go      the times of a build step's files
//	remove.go         Remove, the trash
//	reaper.go         deletion of removed layers' files
//	recover.go        what a start finishes or undoes after a crash
//	boot.go           what the first start after a boot of the host removes
//	links.go          lost short links, and entries that are no layers
//	limit.go          limited layers; package quota enforces
//	carry.go          a first limit for a layer; fingerprint.go: whether it changed meanwhile
//	externalmount.go  the calls of a door that mounts layers itself
//	commit.go         CommitLayer, Rebase: the commit of such a door
//	engine.go         the engine that the store is bound to
//	receive.go        stores that come from another host
//	structure.go      checks of a store's structure before it is trusted
//	idset.go          layers with a property that only this process knows
//	driver.go         Open, Restart, Close; locks and checks around every call
//	home.go           the home: mount, lock, directories
//	format.go         the format version, the store's name, the store's door
//	options.go        the administrator's options
//	copyup.go         how overlays copy up and what that costs; the sync property
//	status.go         Status and Metadata: the store in words
//	stats.go          Stats and Usage: the store in numbers
//	view.go           StoreView: a store that is read without being opened
//
// The layout on disk is overlay2's. docs/on-disk-format.md describes it.
package overlayzfs
