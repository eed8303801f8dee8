// Package imagestore writes images and containers' layers into a running containerd, as
// Docker's containerd image store has them. Packages migrate and imagereceive use it.
//
// In a migration a layer's blob is the tar itself, uncompressed: its digest is the DiffID that the image's
// configuration has, so containerd proves it. Everything that is written belongs to a lease,
// until an image record or a container's own lease holds it. What no lease and no record
// holds any more is deleted by containerd's garbage collector.
//
//	client.go     Client: connects, checks, leases
//	content.go    blobs
//	image.go      manifests, and the records that give images their names
//	records.go    records of images, as they are
//	unpack.go     snapshots of the layers of an image, made of its blobs
//	snapshots.go  snapshots of image layers and containers, as dockerd names them
//
// The names, labels and media types are those of dockerd 28 (daemon/containerd of moby).
package imagestore
