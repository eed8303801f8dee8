// Package fault is the one vocabulary of errors of the core.
//
// A failure has a class (what kind of trouble it is, and so what a caller may
// do about it) and a context (which operation, on which layer, on which
// dataset). Every package of the core returns errors that carry a class where
// one is known; the doors (plugin, snapshotter) translate classes into their
// protocol's terms and print the text. Advice turns a class into a remedy.
//
// Nothing here knows a protocol, and nothing here decides what to do.
package fault
