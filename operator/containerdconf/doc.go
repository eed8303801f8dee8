// Package containerdconf reads containerd's configuration as containerd reads it: versions 1
// to 3, with the files that it imports. It changes nothing.
//
// A later file wins over an earlier one; imports come after the file that names them.
// Tables of plugins are merged, lists in them are replaced. containerd 2 takes the settings
// of 1.7's CRI table from a file of version 2, but of its snapshotter only if that table also
// names runtimes. (containerd, cmd/containerd/server/config and plugins/cri/images)
package containerdconf
