// Package transfer moves a store of layers, and Docker's records of its images, to
// another host.
//
// Docker's records of the images are copied into the store before its dataset is
// snapshotted (Mirror), so that one ZFS stream has both. A header and checksums are added
// to the stream (Writer, Reader):
//
//	"overlayzfs-send\n"  uint32 version  uint32 length  header, JSON
//	uint32 length  a part of the ZFS stream  checksum    repeated for each part
//	uint32 0  checksum
//
// Numbers are little-endian. A checksum is the SHA-256 of everything before it except
// the other checksums. Reader returns a part only when its checksum is right. ZFS keeps
// nothing of a stream that ends early.
//
// The receiving host checks whether the stream fits (InspectTarget, FindMisfits) and
// copies the records into Docker's data-root (Install). Containers are not transferred:
// their layers are in the stream, and the receiver removes them (FindForeignLayers).
//
// Package dockerstore reads Docker's records, package zfs sends and receives datasets.
// Package receive below drives the receiving side.
package transfer
