package mount

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// flagWords are the options of a mount in /proc/self/mountinfo, with their flags.
var flagWords = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	"nosymfollow": unix.MS_NOSYMFOLLOW, "sync": unix.MS_SYNCHRONOUS, "mand": unix.MS_MANDLOCK, "dirsync": unix.MS_DIRSYNC,
}

// FlagsOf returns the flags that give a mount the options of another, as the mount table has
// them. Without a word of access times the mount has strict ones.
func FlagsOf(options string) uintptr {
	words := strings.Split(options, ",")
	var flags uintptr
	for _, word := range words {
		flags |= flagWords[word]
	}
	if !slices.Contains(words, "noatime") && !slices.Contains(words, "relatime") {
		flags |= unix.MS_STRICTATIME
	}
	return flags
}

// Bind makes a directory of a mount visible at target, with flags for that mount alone. It
// leaves the mounts below the directory out.
func Bind(dir, target string, flags uintptr) error {
	m := Mount{Type: "bind", Source: dir, Target: target, Flags: unix.MS_BIND}
	if err := m.Do(); err != nil {
		return err
	}
	m.Flags = unix.MS_BIND | unix.MS_REMOUNT | flags
	return m.Do()
}
