// Package treediff finds what changed between two directory trees.
//
// Merged compares the merged trees of two stacks of layers. Upper compares an overlay's
// upper directory with a view of the layers below. Both read only the files of the layers
// that differ, so their time depends on the change and not on the size of the image. Both
// give the same answer for the same layers.
//
// A file is changed when its type, permission bits, owner, device number or attributes
// differ; of all but directories also size, modification time, content or target. A
// directory whose entries changed is modified. moby's drivers take equal size and time for
// equal content, and lose changes of reproducible builds, which set all times.
//
// Exact compares more, for the copy of a tree: a missed difference would be lost there.
// Trees compares less, for an estimate.
//
// Reading and writing layer tars lives in package layertar.
package treediff
