// Package rebuild writes a layer's tar from Docker's record (tar-split) and the layer's
// files, and compares its digest with the recorded one.
//
// The error's type says what is at fault: a Difference is the layer's fault, Unproven is
// the record's, and any other error prevented the comparison.
//
// Package dockerstore reads the record. Package verify compares the tar's entries with
// the layer, and package migrate unpacks the tar.
package rebuild
