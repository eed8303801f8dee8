package inguest

import (
	"os"
	"strings"
	"testing"
)

// Mount is a line of a mount table.
type Mount struct{ Target, Type, Source string }

// ReadMounts reads the mount table of a process, a number or "self".
func ReadMounts(process string) ([]Mount, error) {
	table, err := os.ReadFile("/proc/" + process + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []Mount
	for line := range strings.Lines(string(table)) {
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		mounts = append(mounts, Mount{Target: left[4], Type: right[0], Source: right[1]})
	}
	return mounts, nil
}

// UnmountAt unmounts everything that is mounted on exactly dir. dockerd binds its
// data-root to itself where the host's mounts are not shared. A dockerd that is
// killed, or that stops under live-restore, leaves that mount behind.
func UnmountAt(t testing.TB, dir string) {
	t.Helper()
	mounts, err := ReadMounts("self")
	Must(t, err)
	for _, m := range mounts {
		if m.Target == dir {
			Run(t, "umount", dir)
		}
	}
}
