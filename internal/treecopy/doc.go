// Package treecopy copies a directory tree, or some entries of one, as they are:
// types, owners, modes, times to the nanosecond, hard links, extended
// attributes, and what overlayfs means by them. Where the file system can share
// blocks between files, content is shared (copy_file_range(2), which OpenZFS
// turns into block clones within a pool).
//
// Repair changes an upper directory until an overlay shows a given tree.
//
//	treecopy.go            Upper, Tree, MergeUpper, Changes
//	file.go, content.go    one file
//	onto.go                what MergeUpper replaces
//	repairplan.go, repair.go, same.go   Repair: what differs, and how it is put right
//
// Both trees are taken for hostile: no symlink is followed and no mount is
// crossed. The caller decides what an entry means, and makes the copy durable.
package treecopy
