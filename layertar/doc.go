// Package layertar moves layers between the tar form that Docker and OCI
// exchange and an overlayfs upper directory.
//
// Extract trusts nothing in its stream. It resolves every path below the directory
// (internal/fsat), checks every whiteout (package whiteout), and refuses what overlayfs
// would misread. Pack and PackEntries write a whole tar or fail: the end-of-archive marker
// is there if and only if they return no error.
//
// Both directions give at least what Docker's overlay2 driver gives. Nothing here is
// compressed or synced, and a half-extracted directory stays: these are the caller's.
//
// One goroutine reads or writes the tar, in order. Up to four workers do the system calls
// for files: workerpool.go runs them, dirref.go counts the users of an open directory.
//
// Extraction:
//
//   - extract.go: Extract, and the way of one entry through it
//   - extract_create.go, extract_link.go, extract_whiteout.go: what the reader makes
//   - extract_file.go, extract_writer.go, extract_content.go: what the workers make
//   - extract_order.go: which entries have to wait for others
//   - extract_attr.go: owners, modes, times, extended attributes
//
// Packing:
//
//   - pack.go, pack_tree.go: Pack, the packing of an upper directory
//   - pack_entries.go: PackEntries, the packing of a list of paths
//   - pack_inspect.go, pack_header.go: what a file's entry says
//
// Both: stream.go (the tar as it comes in), name.go, xattr.go, options.go, chunk.go
// (buffers), size.go (Size).
package layertar
