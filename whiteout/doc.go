// Package whiteout is how a deletion is written down: as a file name in a
// layer tar (the AUFS form that OCI took over), as a device or an attribute
// in an overlayfs upper directory.
//
// The rules are pure functions. Probe, apart from them, tries at start-up
// whether a directory's file system can be an overlayfs upper at all, and says
// what is missing and which version has it.
//
// Reading and writing tars is package layertar's.
package whiteout
