// Package layerdiff generates stacks of layer tars, has several drivers unpack them, and
// compares the merged trees. Decision 9 names the differences that may remain.
//
// A stack depends on its seed only. What fails is shrunk to the layers and entries that are
// needed for it.
//
//	generate.go  stacks
//	traits.go    what a stack has of the differences that decision 9 names
//	allow.go     what of another tree may differ from ours because of them
//	drivers.go   the drivers: graphdrivers and snapshotters
//	machine.go   one stack through all drivers, and the comparison
//	shrink.go    makes a failing stack small
//	reader.go    the plugin's reader without plugin and ZFS, for stacks by the hundred thousand
//	records.go   layers against the records of their tars, as verify compares them
//	migration.go stacks as images of moby's vfs and zfs, migrated; layerdirs.go: to directories
package layerdiff
