// Package atomicfile replaces small files in one step: a reader finds the old content or
// the new one, never a part of either. Durability is the caller's choice.
//
// The new content is written to a file beside the old one, which then takes its name. A
// process that dies in between leaves the file beside it, under a fixed name; the next
// Replace removes that first and never writes through it, because it could be a link.
package atomicfile
