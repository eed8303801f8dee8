package main

import "strings"

// fileNames are what the core's options, which it names as Docker is given them,
// are called in the configuration file.
var fileNames = strings.NewReplacer(
	"overlayzfs.snapshots.records", "store.records",
	"overlayzfs.snapshots", "store.snapshots",
	"overlayzfs.dataset", "store.dataset",
	"overlayzfs.sync", "store.sync",
	"overlayzfs.quota", "store.quota",
	"overlayzfs.size", "limits.size",
	"overlayzfs.inodes", "limits.inodes",
	"put Docker's data-root on ZFS", "have root on ZFS",
)

// named is an error of the core in the file's terms.
type named struct{ err error }

func (n *named) Error() string { return fileNames.Replace(n.err.Error()) }
func (n *named) Unwrap() error { return n.err }

// inFileTerms makes an error name settings as the file does.
func inFileTerms(err error) error {
	if err == nil {
		return nil
	}
	return &named{err}
}
