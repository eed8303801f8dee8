// Package imagestore writes images and containers' layers into a running containerd, as
// Docker's containerd image store has them. Package migrate uses it.
//
// A layer's blob is the tar itself, uncompressed: its digest is the DiffID that the image's
// configuration has, so containerd proves it. Everything that is written belongs to a lease,
// until an image record or a container's own lease holds it. What no lease and no record
// holds any more is deleted by containerd's garbage collector.
//
//	client.go     Client: connects, checks, leases
//	content.go    blobs
//	image.go      manifests, and the records that give images their names
//	snapshots.go  snapshots of image layers and containers, as dockerd names them
//
// The names, labels and media types are those of dockerd 28 (daemon/containerd of moby).
package imagestore
