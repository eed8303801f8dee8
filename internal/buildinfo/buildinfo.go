package buildinfo

import (
	"cmp"
	"runtime/debug"
)

// The linker sets these, in `make build` and `make release`.
var (
	version string
	commit  string
)

// unknown is the value that neither the linker nor the module system knows.
const unknown = "unknown"

// Version returns the release, or the module's version when the linker set none.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(info.Main.Version, unknown)
	}
	return unknown
}

// Commit returns the commit of the build.
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

// shortCommit is how much of a commit Text shows.
const shortCommit = 12

// Text returns version and commit for a person.
func Text() string {
	c := Commit()
	return Version() + " (commit " + c[:min(len(c), shortCommit)] + ")"
}
