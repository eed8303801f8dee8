// Package treediff finds what changed between two directory trees.
//
// Trees compares two whole trees; Upper compares an overlay's upper directory
// with a view of what lies below it, looking only at what the upper has and
// so in time that depends on the change and not on the size of the image.
// Both give the same answer for the same layers.
//
// Changes are those that moby's drivers count: type and permission
// bits, owner, device number and security.capability of everything; size and
// modification time of all but directories. A directory whose entries changed
// is reported as modified.
//
// Exact is for copying a tree, where what is missed is lost: see there.
//
// Reading and writing layer tars lives in package layertar.
package treediff
