// Package ctxlock has locks whose waiters give up when their contexts end: Keys, one lock
// for each name, and RW, which is held shared or exclusively.
package ctxlock
