// Package transfer moves a store of layers, and Docker's records of its images, to
// another host.
//
// Docker's records of the images are copied into the store before its dataset is
// snapshotted (Mirror), so that one ZFS stream has both. Package frame adds a header and
// checksums to the stream (NewWriter, Reader). ZFS keeps nothing of a stream that ends early.
//
// The receiving host checks whether the stream fits (InspectTarget, FindMisfits) and
// copies the records into Docker's data-root (Install). Containers are not transferred:
// their layers are in the stream, and the receiver removes them (FindForeignLayers).
//
// Package dockerstore reads Docker's records, package zfs sends and receives datasets.
// Packages send and receive below drive the two sides. Packages images, imagesend and
// imagereceive do the same for the images of a containerd.
package transfer
