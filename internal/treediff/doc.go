// Package treediff finds what changed between two directory trees.
//
// Trees compares two whole trees. Upper compares an overlay's upper directory with a view
// of the layers below. It reads only the files that the upper directory has, so its time
// depends on the change and not on the size of the image. Both give the same answer for the
// same layers.
//
// A file is changed when moby's drivers would call it changed. They compare type and
// permission bits, owner, device number and security.capability of every file, and size and
// modification time of all but directories. A directory whose entries changed is modified.
//
// Exact compares more, for the copy of a tree: a missed difference would be lost there.
//
// Reading and writing layer tars lives in package layertar.
package treediff
