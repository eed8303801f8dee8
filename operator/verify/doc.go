// Package verify compares layers with Docker's records of them. It changes nothing.
//
// Docker records each layer's tar without the files' content (tar-split). The tar is
// rebuilt with the content of our layer (operator/rebuild), and its digest must be the
// layer's DiffID, which proves every byte of every file.
//
// Everything else is compared entry by entry. Each name in the tar must exist with the
// same type, owner, mode, capabilities, size, link target and device number, hard links
// and deletions included. No other name may exist. Timestamps and attributes that depend
// on the host are not compared.
//
//	select.go      SelectLayers: the layers to compare
//	verify.go      VerifyLayers and its results
//	comparison.go  rebuilds one layer's tar, and compares both
//	entries.go     the names in the tar, as a tree
//	compare.go     finds each entry in the layer
//	attributes.go, xattrs.go   compare one file's attributes
//	extra.go       finds files that the tar does not name
//
// Paths in a layer go through package fsat, because whiteouts, extended attributes and
// device nodes are not accessible by os.Root.
package verify
