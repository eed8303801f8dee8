// Package verify compares layers with what Docker recorded of them.
//
// Docker keeps of each layer's tar all but the files' content (tar-split). With
// the content of our layer the tar is made again (operator/rebuild), and its digest
// must be the layer's DiffID: so every byte of every file is proven. What a file's content
// does not show is compared entry by entry: that everything the tar names is
// there, of the same type, owner, mode and capabilities, with the same size,
// target or device number, hard links and deletions included, and that nothing
// else is. Times, and attributes that depend on the host, are not compared.
//
// Nothing is changed or mended here.
package verify
