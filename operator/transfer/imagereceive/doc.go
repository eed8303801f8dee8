// Package imagereceive gives the images of a stream of package images to a running containerd.
//
// Receive writes the blobs, which containerd proves by their digests. When the stream has come
// to its end it makes the labels that hold the parts of an image together, has containerd
// unpack the images for this host's platform, and writes the records of images last.
// Everything belongs to a lease until then, one for each name space. A killed receive leaves
// its lease, which containerd ends after a week, and the next receive before.
//
//	plan.go     what receiving would do: names that change, images that would be lost
//	receive.go  Receive: leases, blobs, records
//	tie.go      labels, unpacking
package imagereceive
