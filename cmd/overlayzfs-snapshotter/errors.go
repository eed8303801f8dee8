package main

import "strings"

// fileTerms replaces the names of the core's options, as Docker takes them, by those in
// the configuration file.
var fileTerms = strings.NewReplacer(
	"overlayzfs.snapshots.records", "store.records",
	"overlayzfs.snapshots", "store.snapshots",
	"overlayzfs.dataset", "store.dataset",
	"overlayzfs.sync", "store.sync",
	"overlayzfs.quota", "store.quota",
	"overlayzfs.xino", "store.xino",
	"overlayzfs.size", "limits.size",
	"overlayzfs.inodes", "limits.inodes",
	"put Docker's data-root on ZFS", "have root on ZFS",
)

// fileError is an error of the core in the terms of the configuration file.
type fileError struct{ err error }

func (e *fileError) Error() string { return fileTerms.Replace(e.err.Error()) }
func (e *fileError) Unwrap() error { return e.err }

// renameSettings makes an error name settings as the configuration file does.
func renameSettings(err error) error {
	if err == nil {
		return nil
	}
	return &fileError{err}
}
