// Package fsat is the tree's file-system calls relative to a directory's
// descriptor: create, read, change and remove one name below an open
// directory, resolve a path without ever leaving it, walk and remove a tree, or
// a subvolume of btrfs.
//
// What is promised: a name given to a function is one component and its last
// symlink is never followed; a path is resolved by Resolver, which the kernel
// keeps below the root; nothing crosses into another mount; nothing depends
// on the length of a path or on the process's working directory, and few
// descriptors are open whatever a tree's depth. Interrupted calls are retried.
//
// What does not live here: what the files mean (layers, whiteouts, tars), and
// policy. Errors are *fs.PathError over the errno; callers give them a class.
package fsat
