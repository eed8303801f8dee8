// Package memory feeds layer tars that are made to fill memory to the programs of both doors,
// and asks the kernel how much memory the programs took.
//
//	tars.go  the tars
package memory
