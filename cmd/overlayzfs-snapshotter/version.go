package main

import "runtime/debug"

// version is set by the linker for a release.
var version string

// versionText is the release, or what the module system knows of the build.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
