// Package treecmp describes directory trees completely and compares the descriptions. A
// description has everything that a layer driver must preserve. It omits what two file
// systems may do differently: sizes and link counts of directories, inode numbers,
// allocated blocks.
//
// A tree comes from a directory (FromDir), from a tar of a root file system (FromTar), from
// a stack of layer tars with whiteouts (FromLayers), or from an archive of `docker save`
// (OpenImage). Equal content has equal descriptions, so that a mounted image compares with
// its layers, and one storage driver with another.
//
// A description is JSON with sorted entries. It can be stored, copied to another machine
// and compared there.
//
//	entry.go    entries, trees and their JSON
//	dir.go      directories
//	tar.go      tars and stacks of layers
//	image.go    archives of images
//	compare.go  the comparison
package treecmp
