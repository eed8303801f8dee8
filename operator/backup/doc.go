// Package backup sends and receives a whole store with Docker's data-root: layers, limited
// containers, records, and the datasets below the data-root, such as one of volumes.
//
// # The stream
//
// A backup is a snapshot of one moment over all these datasets. Its stream begins with a header
// in JSON, with a checksum, and has one stream of package transfer for each dataset, parents
// first:
//
//	"overlayzfs-backup\n"  uint32 length  header, JSON  SHA-256
//	a stream of package transfer    for each dataset
//
// Encrypted datasets are sent raw: neither side needs a key.
//
// # What a receiver has
//
// ReadState says which snapshots a receiver has and where a stream was cut. A sender that knows
// this sends only what is missing: whole datasets, changes since a snapshot that both have, the
// rest of a stream that was cut.
//
// # Never over something
//
// Received datasets have mountpoint=none and canmount=noauto, both local, so that no boot and no
// `zfs mount -a` mounts a backup. Their own mount points stand in a property. Mount gives them
// back, and only where nothing is.
package backup
