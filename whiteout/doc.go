// Package whiteout knows how a layer tar marks a deletion: by a file name, the AUFS form that
// OCI adopted. Package internal/overlayfs knows the form in an overlayfs upper directory, a
// device or an attribute.
//
// The rules are pure functions. Probe tests at start-up whether a directory's file system can
// be an overlayfs upper at all. It reports the missing features and the versions that have
// them.
//
// Reading and writing tars is package layertar's.
package whiteout
