// Package fault is the one vocabulary of errors of the core.
//
// A failure has a class, which tells a caller what it can do about it, and a context:
// operation, layer, dataset. Every package of the core returns errors that carry a class
// where one is known. The doors (plugin, snapshotter) translate classes into their
// protocol's terms and print the text. Advice turns a class into a remedy.
//
// Nothing here knows a protocol, and nothing here decides what to do.
package fault
