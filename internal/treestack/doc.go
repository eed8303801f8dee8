// Package treestack reads a stack of overlay directories as one tree, without a mount.
//
// A stack gives what an overlay of the same directories shows: whiteouts hide, opaque
// directories hide what is below them, and other directories of one name merge. It needs no
// privilege but that of reading trusted attributes, and nothing is left when the process is
// killed. redirect_dir and metacopy are not read: no store of ours has them.
//
// No symlink leads out of the stack, and no mount is crossed.
package treestack
