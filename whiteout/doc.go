// Package whiteout is how a deletion is written down in a layer tar: as a file name,
// the AUFS form that OCI took over. Its form in an overlayfs upper directory, a device
// or an attribute, is package internal/overlayfs's.
//
// The rules are pure functions. Probe, apart from them, tries at start-up
// whether a directory's file system can be an overlayfs upper at all, and says
// what is missing and which version has it.
//
// Reading and writing tars is package layertar's.
package whiteout
