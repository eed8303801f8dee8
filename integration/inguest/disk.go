package inguest

import (
	"os"
	"strconv"
	"testing"
)

// MakeDiskDir makes a directory on the root disk, and removes it when the test
// ends. Nothing may be mounted below it by then.
func MakeDiskDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "test-")
	Must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// UsedSpace returns the space that a dataset uses, in bytes, after a sync of the
// pools.
func UsedSpace(t testing.TB, dataset string) int64 {
	t.Helper()
	Run(t, "zpool", "sync")
	used, err := strconv.ParseInt(Run(t, "zfs", "get", "-Hpo", "value", "used", dataset), 10, 64)
	Must(t, err)
	return used
}
