package main

import (
	"regexp"
	"strings"
)

var (
	// tagPattern matches the version of a tag: v1.2.3, v1.2.3-rc.1.
	tagPattern = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+)(-.*)?$`)
	// describePattern matches what git describe appends to the last tag.
	describePattern = regexp.MustCompile(`^-([0-9]+)-(g[0-9a-f]+)(-dirty)?$`)
	// debForeign matches what a Debian version cannot contain; "-" would begin a revision.
	debForeign = regexp.MustCompile(`[^A-Za-z0-9.+~]+`)
)

// debVersion returns a version that dpkg sorts right: a prerelease before its release,
// commits after a tag behind it, and a version without a tag before everything.
func debVersion(version string) string {
	m := tagPattern.FindStringSubmatch(version)
	if m == nil {
		return "0~" + debForeign.ReplaceAllString(version, ".")
	}
	number, rest := m[1], m[2]
	switch after := describePattern.FindStringSubmatch(rest); {
	case rest == "":
		return number
	case after != nil:
		return number + "+" + after[1] + "." + after[2] + debForeign.ReplaceAllString(after[3], ".")
	}
	return number + "~" + debForeign.ReplaceAllString(strings.TrimPrefix(rest, "-"), ".")
}
