// Command release builds the files of a release, `make release`: for
// each architecture the managed plugin, also as an image for registries (an OCI
// image layout), an archive of static programs and a Debian package, and for all of
// them a bill of materials, the licences of what is linked, and checksums,
// signed where a key is given.
//
// The same sources and the same Go give the same bytes: machine, user and time do
// not matter. The command needs Go, the sources and a module proxy, and no other
// program. It is a module of its own, so that the product does not depend on
// packaging libraries.
//
//	main.go       flags; the order of the steps
//	build.go      compiles the programs; manual pages and completions
//	archives.go   the plugin's archive and image, and the programs' archive
//	deb.go        the Debian package
//	bill.go       the bill of materials
//	licences.go   the licences of linked modules
//	checksums.go  SHA256SUMS
//	sign.go       their signature
//	tree.go       files to be archived; reproducible tars
//	version.go    the version as dpkg sorts it
package main
