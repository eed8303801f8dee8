// Package images is what tests of engines make images of, how they have them
// built, and how they look at them: nothing can be pulled in the lab.
//
// What an engine stores its images with is not its business: packages e2e and
// imagestore hold storage drivers and snapshotters against each other with it.
//
//	odds.go     an image with one of everything; tarball.go writes it
//	debian.go   an image of a small Debian
//	context.go  a build of some thirty steps, with everything/Dockerfile, that
//	            does to layers what can be done to them
//	build.go    builders
//	expect.go   what that build has to come out as
//	archive.go  images without an engine: layers, and what `docker save` writes
//	show.go     trees as containers see them, and how they compare
package images
