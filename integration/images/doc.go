// Package images makes the images of tests, has engines build them, and compares their
// trees. Nothing can be pulled in the lab.
//
// It does not know storage drivers: packages e2e and imagestore compare drivers and
// snapshotters with it.
//
//	odds.go     an image with every type of file; tarball.go writes it
//	debian.go   an image of a small Debian
//	context.go  build contexts; the largest is everything/Dockerfile, some thirty steps
//	            that make every kind of change to a layer
//	build.go    builders
//	expect.go   the entries that this build must produce
//	reported.go kinds of images that users have reported to several engines, listed in
//	            reported_kinds.go
//	layers.go   layer tars without an engine
//	save.go     archives of images, from an engine and without one
//	tree.go     trees as containers see them, and how they compare
package images
