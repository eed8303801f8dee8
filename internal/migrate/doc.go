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
//	plan.go       what there is, what would be done, and what is in the way
//	job.go        the journal and the order of things
//	carry*.go     layers, one after the other
//	source*.go    how other drivers keep theirs
//	records.go    Docker's records of images, containers and builds
//	daemonjson.go daemon.json
//	quiet.go      that dockerd is stopped, and stays so
//
// What does not live here: reading Docker's records (internal/dockerstore), what
// a layer is (overlayzfs), and flags and questions (cmd/overlayzfs).
package migrate
