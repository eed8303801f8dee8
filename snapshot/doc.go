// Package snapshot takes snapshots of datasets at events of the driver, keeps as many of them
// as a policy says, and rolls back to one.
//
// # The parts of a snapshot
//
// One snapshot is taken in one step of the pool over several datasets, under one name:
//
//   - the layers dataset,
//   - the datasets of limited layers below it, which have a local property overlayzfs:layer
//     (other children belong to others),
//   - the records dataset with Docker's data-root, if the administrator names it.
//
// So the engine's records and the driver's layers are of one moment. A snapshot's name and user
// properties (property.go) contain everything known of it. There is no other state, and no
// restart loses any. Our snapshots have both the name's prefix and the property. No other
// snapshot is ever destroyed, except by a rollback that was told to.
//
// # Order
//
// Snapshots are ordered by the transaction group that they were made in, never by the clock.
// After a clock was set back, retention does not destroy the newest snapshots, and interval
// snapshots go on.
//
// # Failure
//
// A snapshot never blocks a layer operation and never fails one. A failure is logged once for
// each cause, and Status shows it until a snapshot succeeds.
//
// # Files
//
//	events.go     events, intervals, and series of events that give one snapshot
//	config.go     Config, and Policy with its syntax
//	property.go   names and user properties of snapshots; the property of a rollback
//	scheduler.go  Scheduler: when snapshots are taken
//	status.go     what docker info shows, and the log of failures
//	take.go       taking one snapshot over all datasets
//	retention.go  destroying the snapshots that a policy does not keep
//	list.go       finding our snapshots
//	destroy.go    destroying one of them
//	plan.go       planning a rollback: the datasets that go back
//	obstacles.go  what is newer, missing or locked
//	below.go      datasets below the records dataset that do not go back
//	foreign.go    what a snapshot of another program does not say
//	plantext.go   the text of the plan
//	users.go      finding the mounts to take away, and processes that are in a rollback's way
//	mounts.go     unmounting, and mounting again
//	rollback.go   carrying a rollback out
//
// # Beyond this package
//
// Package overlayzfs knows when events happen. Package zfs knows how the kernel is asked. The
// records dataset is only a name here: nothing in this package knows Docker.
package snapshot
