// Package images is the content of a stream of containerd's images, in the frame of package
// frame:
//
//	uint32 length  index, JSON  the bytes of each blob, in the index's order
//
// The index has containerd's records of images, and the digest and size of each blob. A
// Reader trusts nothing of it: sizes and counts are bounded, names, digests and name spaces
// are checked, and what contradicts itself is refused. It does not compare digests; containerd
// does. Packages imagesend and imagereceive are the two sides.
package images
