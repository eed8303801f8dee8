// Package layertar moves layers between the tar form that Docker and OCI
// exchange and an overlayfs upper directory.
//
// Extract trusts nothing in its stream: every path is resolved below the
// directory (internal/fsat), every whiteout is checked (package whiteout), and
// what overlayfs would misread is refused. Pack and PackEntries write a tar
// whole or fail: without an error there is an end-of-archive marker, with one
// there is none.
//
// What both give is, at the least, what Docker's overlay2 driver gives.
// Compression, durability (nothing is synced here) and what becomes of a
// half-extracted directory are the caller's.
package layertar
