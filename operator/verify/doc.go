// Package verify compares layers with the engine's records of them. It changes nothing.
//
// Docker records each layer's tar without the files' content (tar-split). The tar is
// rebuilt with the content of our layer (operator/rebuild), and its digest must be the
// layer's DiffID, which proves every byte of every file. Some records cannot give their tar
// again: of sparse files, of entries with a size and no content, of content that a later
// entry replaces. For these the content of each file is compared with the record's checksum.
//
// containerd has no such records, but keeps the blob that a layer was unpacked from, unless
// it is told to discard it. The record is made from the blob then.
//
// Everything else is compared entry by entry. Each name in the tar must exist with the
// same type, owner, mode, capabilities, size, link target and device number, hard links
// and deletions included. No other name may change what the image shows. Timestamps and
// attributes that depend on the host are not compared; lost attributes in the name space
// user are Unproven.
//
// Where entries of a tar work on each other (one replaces a link, or what a hard link names; a
// symlink leads one to another's place; one deletes what came before in a first layer), the names
// do not tell all that the tar does. A difference is Unproven there.
//
// A name that the layer lacks counts as the layers below show it. A migration makes such
// layers (package migrate): the old driver may have unpacked a tar into one tree with the
// layers below, through their symlinks and onto their files.
//
//	select.go      SelectLayers: the layers to compare
//	verify.go      VerifyLayers and its results
//	docker.go, containerd.go   where the record of a layer's tar comes from
//	comparison.go  digest or checksums
//	entries.go     the names in the tar, as a tree
//	compare.go     finds each entry in the layer
//	doubt.go       what of the differences a tar leaves open; replay.go: what its entries do to
//	               each other
//	deletions.go   whiteouts and opaque directories
//	attributes.go, xattrs.go, content.go   compare one file
//	extra.go       finds files that the tar does not name
//
// Paths in a layer go through packages fsat and treestack, because whiteouts, extended
// attributes and device nodes are not accessible by os.Root.
package verify
