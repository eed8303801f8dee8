// Package whiteout knows how a layer tar marks a deletion: by a file name, the AUFS form that
// OCI adopted. Package internal/overlayfs knows the form in an overlayfs upper directory, a
// device or an attribute.
//
// The rules are pure functions. Probe tests at start-up whether a directory's file system can
// be an overlayfs upper at all. It reports the missing features and the versions that have
// them.
//
// Reading and writing tars is package layertar's.
//
// A new form of whiteout touches three places: classify.go for its name in a tar, package
// internal/overlayfs for its form in an upper directory, and packages layertar and treediff
// for the entries that have it. Probe needs a test of what the new form asks of the file
// system. The other files are all of Probe:
//
//	classify.go   the meaning of a name in a layer tar
//	probe.go      Probe, the order of its tests
//	features.go   one test for each feature that overlayfs needs
//	missing.go    the error that lists missing features
//	system.go     the system calls of the tests
package whiteout
