package main

import (
	"regexp"
	"strings"
)

var (
	// numbered is a version as tags have it: v1.2.3, v1.2.3-rc.1.
	numbered = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+)(-.*)?$`)
	// since is what git describe puts behind the last tag.
	since = regexp.MustCompile(`^-([0-9]+)-(g[0-9a-f]+)(-dirty)?$`)
	// foreign is what a Debian version may not have; "-" would begin a revision.
	foreign = regexp.MustCompile(`[^A-Za-z0-9.+~]+`)
)

// debVersion is a version as dpkg sorts it: what comes before a release before
// it, what comes after a tag after it, and what has no tag before everything.
func debVersion(version string) string {
	m := numbered.FindStringSubmatch(version)
	if m == nil {
		return "0~" + foreign.ReplaceAllString(version, ".")
	}
	number, rest := m[1], m[2]
	switch after := since.FindStringSubmatch(rest); {
	case rest == "":
		return number
	case after != nil:
		return number + "+" + after[1] + "." + after[2] + foreign.ReplaceAllString(after[3], ".")
	}
	return number + "~" + foreign.ReplaceAllString(strings.TrimPrefix(rest, "-"), ".")
}
