// Package transfer carries a store of layers, and what Docker knows of its images,
// to another host.
//
// Docker's records of the images are copied into the store before its dataset is
// snapshotted (Mirror), so that one stream of ZFS's has both. Around that stream
// stand a header that says what it is and checksums (Writer, Reader):
//
//	"overlayzfs-send\n"  uint32 version  uint32 length  header, JSON
//	uint32 length  a part of ZFS's stream  checksum    as often as there are parts
//	uint32 0  checksum
//
// Numbers are little-endian. A checksum is the SHA-256 of everything before it, the
// other checksums left out. Reader gives a part away only when its checksum is
// right, and of a stream that does not come to its end ZFS keeps nothing.
//
// On the other host it is decided whether a stream fits what is there (Fit), and
// the records get their place in Docker's data-root (Install). Containers do not
// travel: their layers are in the stream, and are Strangers where it is received.
//
// What Docker's records look like is known to package dockerstore, how a dataset
// is sent and received to package zfs.
package transfer
