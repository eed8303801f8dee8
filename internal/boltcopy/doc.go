// Package boltcopy reads a bbolt database that another process may have open.
//
// bbolt locks a database's file, exclusively for a process that writes. Read copies the
// file into memory and reads the copy, so it needs no lock.
//
// The copy is that of one moment. bbolt never overwrites a page of the latest
// transaction: a transaction writes to free pages, and then to the older one of two header
// pages. Pages that transaction N frees can be written by N+1 at the earliest, after the
// header of N. So a copy during which both headers stayed the same is whole.
package boltcopy
