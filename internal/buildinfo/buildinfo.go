package buildinfo

import (
	"cmp"
	"runtime/debug"
)

// Set by the linker: `make build` and `make release` do.
var (
	version string
	commit  string
)

// unknown is what is said where neither the linker nor the module system knows.
const unknown = "unknown"

// Version is the release, or what the module system knows of the build.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(info.Main.Version, unknown)
	}
	return unknown
}

// Commit is the commit that was built.
func Commit() string {
	if commit != "" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return unknown
}

// shortCommit is how much of a commit people read.
const shortCommit = 12

// Text is both, for people.
func Text() string {
	c := Commit()
	return Version() + " (commit " + c[:min(len(c), shortCommit)] + ")"
}
