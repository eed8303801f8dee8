// Package send writes a store as a stream: it copies Docker's records into the
// store, takes a snapshot that has all of their layers, and sends that.
//
// A stream that does not come to its end leaves no snapshot and no file. A snapshot
// counts as sent from the moment when its stream is durable.
package send
