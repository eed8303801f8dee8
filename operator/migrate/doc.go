// Package migrate moves an engine's images and containers from one storage
// driver to another while dockerd is stopped: to a store of layers from overlay2,
// zfs, vfs or btrfs, and from a store back to overlay2.
//
// A migration is a Job, kept in a journal in Docker's data-root. Layers come
// first, in one of three ways: they are renamed as a whole (Move), they lie where
// they are wanted already (Stay), or they are carried one by one and the old
// ones stay until the end (Copy). Then Docker's records are switched, each by one
// rename. Every step can be made again and undone, so that a job that was cut
// short anywhere is continued or undone; docs/migration.md has the table.
//
//	plan.go       what would be done, and what is in the way
//	look.go       how that is found out; adopt.go and way.go: how layers get there; room.go: whether they fit
//	job.go        the journal; allow.go: what its phase allows
//	return.go     what keeps renamed layers from being what they were; unneeded.go: old ones from being deleted
//	begin.go, run.go, undo.go, finish.go   the order of things
//	steps.go, records.go, daemonjson.go    Docker's records
//	items.go, carry.go, unpack.go, verify.go   layers, one after the other
//	source.go     how other drivers keep theirs; overlay2.go: how one makes them
//	quiet.go      that dockerd is stopped, and stays so
//	dataroot.go   Docker's data-root, changed in single steps
//
// What does not live here: reading Docker's records (operator/dockerstore), what
// a layer is (overlayzfs), and flags and questions (cmd/overlayzfs).
package migrate
