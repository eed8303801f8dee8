// Package snapshot takes dataset-level snapshots at events of the driver,
// keeps as many of them as a policy says, and goes back to one.
//
// # What a snapshot is
//
// One snapshot is taken in one step of the pool over several datasets, under
// one name: the layers dataset, the datasets of limited layers below it (those
// with a local property overlayzfs:layer; other children belong to other
// people), and, if the administrator names it, the records dataset that holds
// Docker's data-root. What the engine has recorded and what the driver keeps
// are therefore of the same moment. All that is known of a snapshot is in its
// name and user properties (property.go): there is no other state, and no
// restart loses any. Ours are the snapshots with both the name's prefix and
// the property; no other is ever destroyed, but by a rollback that was told so.
//
// # Order
//
// Snapshots are ordered by the transaction group they were made in, never by
// the clock. A clock that was set back neither lets retention destroy the
// newest nor stops interval snapshots.
//
// # Failure
//
// A hook never blocks a layer operation and never fails one. What failed is
// logged once for each cause and shown in Status until a snapshot succeeds.
//
// # What does not live here
//
// When events happen (package overlayzfs), how the kernel is asked (package
// zfs), and anything of Docker: the records dataset is a name to this package.
package snapshot
