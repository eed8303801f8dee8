// Package treecmp describes directory trees completely and compares the
// descriptions: what a layer driver must keep is all there, and what two file
// systems may do differently (sizes and link counts of directories, inode
// numbers, allocated blocks) is not.
//
// A tree comes from a directory (FromDir), from a tar of a root file system
// (FromTar), from a stack of layer tars with whiteouts (FromLayers), or from
// what `docker save` writes (OpenImage). The same content gives the same
// description wherever it comes from, so that a mounted image can be compared
// with the layers it was made of, and one storage driver with another.
//
// A description is plain JSON with sorted entries: it can be kept, carried to
// another machine and compared there.
//
//	entry.go    entries, trees and their JSON
//	dir.go      directories
//	tar.go      tars and stacks of layers
//	image.go    archives of images
//	compare.go  the comparison
package treecmp
