// Package gc decides which layers of a store are nobody's.
//
// The records are believed when a token says that they are those of the engine
// that used the store last, see overlayzfs.Engine: a data-root that was moved and
// left behind looks like a good one in all else.
//
// A layer is removed when no record of Docker names it, under whichever name of
// a driver, and nothing that a record names stands on it. Where the records do
// not fit the store, or cannot be read, nothing is: they may be another engine's.
//
// Examine reads the records and decides. Remove needs the store open, and so dockerd
// stopped: while dockerd runs, it makes layers before it records them.
package gc
