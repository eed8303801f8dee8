package mount

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestFlagsOf(t *testing.T) {
	for options, want := range map[string]uintptr{
		"rw":                              unix.MS_STRICTATIME,
		"rw,relatime":                     unix.MS_RELATIME,
		"ro,nosuid,nodev,noexec,noatime":  unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME,
		"rw,noatime,nodiratime,idmapped":  unix.MS_NOATIME | unix.MS_NODIRATIME,
		"rw,nosymfollow,relatime,unknown": unix.MS_NOSYMFOLLOW | unix.MS_RELATIME,
	} {
		if got := FlagsOf(options); got != want {
			t.Errorf("%s: %#x, want %#x", options, got, want)
		}
	}
}
