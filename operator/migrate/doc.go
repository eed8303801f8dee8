// Package migrate moves an engine's images and containers from one storage driver
// to another while dockerd is stopped. It migrates from overlay2, zfs, vfs and btrfs
// to a store of layers or to containerd's image store, and from a store there or back to overlay2 or zfs.
//
// A migration is a Job. The job's journal lies in Docker's data-root. Layers are
// transferred first, by one of four methods:
//
//	Move    the directory of all layers is renamed
//	Stay    the store's dataset holds the layers already
//	Copy    each layer is copied; the old layers stay until Finish
//	Import  each layer is copied into containerd's image store, as Copy does
//
// Docker's records are switched afterwards, each by one rename. Every step can be
// repeated and undone, so an interrupted job is continued or undone.
// docs/migration.md tells what an interruption leaves after each step.
//
// A job passes through these phases (the journal's "phase"):
//
//	carrying     layers are copied; Docker's records are unchanged
//	switching    Docker's records are changed
//	configuring  daemon.json is changed; everything else is done
//	done         the job can be finished or undone
//	undoing      the changes are being reverted
//	finishing    the data that an undo needs is being deleted
//
// Files:
//
//	plan.go         MakePlan: the request, the plan and its obstacles
//	forward.go      the plan from a driver of Docker's to the store, in place where possible
//	back.go         the plan from the store to overlay2 or zfs
//	importplan.go   the plan to containerd's image store
//	importplugin.go what is different when that begins at the plugin's store
//	space.go        whether the copies fit
//	resume.go       the plan for a job that was started before; which action a phase allows
//	journal.go      Job, its phases and its file
//	run.go          Run: the phases in order
//	steps.go        the changes of Docker's records, each with its undo
//	records.go      Docker's records of images, containers and builds
//	daemonjson.go   the storage driver in daemon.json
//	layers.go       the list of layers to copy
//	carry.go        copies layers, several at once
//	image.go        image layers: from their tars, or as trees; what is compared and noted
//	import.go       blobs and manifests in containerd's image store
//	importrecords.go  names of images and containers' records there, their undo, and what Finish checks
//	snapshotstore.go  the snapshotter as the target of a copy
//	skip.go         images that are left out
//	reclaim.go      deletes old layers during the copy (--reclaim)
//	source.go       reads and deletes the layers of each driver
//	mounts.go       temporary read-only mounts of datasets
//	overlay2store.go, zfsstore.go   write layers as overlay2 and zfs lay them out
//	undo.go         Undo: reverts a job
//	finish.go       Finish: checks the new layers, deletes the old ones
//	dockerd.go      dockerd and containers are stopped, and stay so
//	dataroot.go     atomic changes in Docker's data-root
//
// Package dockerstore reads Docker's records, package overlayzfs knows what a layer
// is, and cmd/overlayzfs has the flags and questions.
//
// Paths in the data-root go through os.Root. Package fsat is used where os.Root
// has no call: trees that must not be crossed into another mount, subvolumes,
// extended attributes and syncfs.
package migrate
