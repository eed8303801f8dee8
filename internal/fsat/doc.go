// Package fsat makes file-system calls relative to a directory's descriptor. It creates,
// reads, changes and removes one name below an open directory, resolves a path without ever
// leaving the directory, and walks or removes a tree.
//
// The contract:
//
//   - A name is one component. A symlink of that name is not followed.
//   - A path is resolved by Resolver: the kernel keeps it below the root.
//   - No call crosses into another mount.
//   - Nothing depends on a path's length or on the process's working directory.
//   - Few descriptors are open, whatever a tree's depth.
//   - Calls that a signal interrupts are retried.
//
// The package knows neither the meaning of files (layers, whiteouts, tars) nor policy.
// Errors are *fs.PathError over the errno; callers give them a class.
//
// The files:
//
//   - open.go, name.go, small.go: open and create; make, link, rename and remove names
//   - attr.go, xattr.go, readlink.go: owners, modes, times, extended attributes, links
//   - io.go, lock.go, call.go: read, write and sync; locks; errors and retries
//   - resolver.go, resolve_walk.go: Resolver
//   - readdir.go, tree.go, remove.go: directories; Walk; RemoveAll
//   - subvolume.go: subvolumes of btrfs
package fsat
