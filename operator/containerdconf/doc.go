// Package containerdconf reads containerd's configuration as containerd reads it: versions 1
// to 3, with the files that it imports. It writes the text of a file that adds the snapshotter
// (DropIn), and changes nothing itself.
//
// A later file wins over an earlier one; imports come after the file that names them.
// containerd 2 merges tables of plugins, and replaces lists in them. containerd 1.7 replaces
// the table of a plugin as a whole, so that a file that sets one key takes all others away.
// containerd 2 takes the settings of 1.7's CRI table from a file of version 2, but of its
// snapshotter only if that table also names runtimes. (containerd, cmd/containerd/server/config
// and plugins/cri/images; 1.7: services/server/config)
package containerdconf
