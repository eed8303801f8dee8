// Command release builds what is published of overlayzfs, `make release`: for
// each architecture the managed plugin, an archive of static programs and a
// Debian package, and for all of them a bill of materials, the licences of what
// is linked, and checksums.
//
// The same sources, built by the same Go, are the same bytes: nothing of the
// machine, the user or the hour comes in. It needs Go, the sources and a module
// proxy, and no other program. It is a module of its own, because what packages
// software is no part of it.
package main
