package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mirror is a place that serves Debian, taken from the host's APT sources. The
// project names none itself: a machine behind a proxy or with a local mirror
// stays with what its administrator chose.
type Mirror struct {
	URI      string
	SignedBy string // path of a keyring, or empty
}

// aptSource is one entry of the host's sources, in either format.
type aptSource struct {
	uris, suites, components []string
	signedBy                 string
}

// HostMirrors reads the mirrors of the machine it runs on.
func HostMirrors() ([]Mirror, error) {
	var sources []aptSource
	files := []string{"/etc/apt/sources.list"}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, _ := filepath.Glob("/etc/apt/sources.list.d/" + pattern)
		files = append(files, found...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sources = append(sources, parseSources(file, string(data))...)
	}
	mirrors := debianMirrors(sources, hostCodename())
	if len(mirrors) == 0 {
		return nil, errors.New("no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d: the guest is made of Debian packages, add one there")
	}
	return mirrors, nil
}

func hostCodename() string {
	data, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(data)) {
		if name, found := strings.CutPrefix(line, "VERSION_CODENAME="); found {
			return strings.Trim(strings.TrimSpace(name), `"'`)
		}
	}
	return ""
}

func parseSources(file, text string) []aptSource {
	if strings.HasSuffix(file, ".sources") {
		return parseDeb822(text)
	}
	return parseOneLine(text)
}

// parseOneLine reads `deb [option=value …] uri suite component…` lines.
func parseOneLine(text string) []aptSource {
	var sources []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, found := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !found {
			continue
		}
		var source aptSource
		rest = strings.TrimSpace(rest)
		if options, after, found := strings.Cut(rest, "]"); found && strings.HasPrefix(options, "[") {
			rest = after
			for _, option := range strings.Fields(options[1:]) {
				if value, found := strings.CutPrefix(strings.ToLower(option), "signed-by="); found {
					source.signedBy = option[len(option)-len(value):]
				}
			}
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		source.uris, source.suites, source.components = fields[:1], fields[1:2], fields[2:]
		sources = append(sources, source)
	}
	return sources
}

// parseDeb822 reads paragraphs of `Field: value` lines. A value may go on over
// indented lines, as an embedded key does; only its first line matters here.
func parseDeb822(text string) []aptSource {
	var sources []aptSource
	for _, paragraph := range strings.Split(text, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(paragraph) {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				continue
			}
			if name, value, found := strings.Cut(line, ":"); found {
				fields[strings.ToLower(name)] = strings.TrimSpace(value)
			}
		}
		if !slices.Contains(strings.Fields(fields["types"]), "deb") || strings.EqualFold(fields["enabled"], "no") {
			continue
		}
		sources = append(sources, aptSource{
			uris:       strings.Fields(fields["uris"]),
			suites:     strings.Fields(fields["suites"]),
			components: strings.Fields(fields["components"]),
			signedBy:   fields["signed-by"],
		})
	}
	return sources
}

// debianMirrors picks the URIs that serve Debian itself, the best known first.
// Third parties name their suites and sign their archives otherwise.
func debianMirrors(sources []aptSource, codename string) []Mirror {
	var own, other []Mirror
	for _, source := range sources {
		for _, uri := range source.uris {
			if !servesDebian(uri, source) {
				continue
			}
			mirror := Mirror{URI: strings.TrimSuffix(uri, "/"), SignedBy: source.signedBy}
			if codename != "" && slices.Contains(source.suites, codename) {
				own = append(own, mirror)
			} else {
				other = append(other, mirror)
			}
		}
	}
	all := own
	if len(own) == 0 {
		all = other
	}
	return slices.CompactFunc(all, func(a, b Mirror) bool { return a.URI == b.URI })
}

func servesDebian(uri string, source aptSource) bool {
	path := strings.TrimSuffix(uri, "/")
	if !slices.Contains(source.components, "main") || strings.Contains(path, "security") {
		return false
	}
	signed := strings.Contains(filepath.Base(source.signedBy), "debian-archive-keyring")
	return strings.HasSuffix(path, "/debian") || signed && strings.Contains(path, "debian")
}

// sourceList is the one-line source list of a suite on the given mirrors.
func (s Sources) sourceList(mirrors []Mirror) string {
	var b strings.Builder
	for _, mirror := range mirrors {
		options := ""
		// APT accepts a fingerprint here too; only a file is known to hold the
		// keys of other releases.
		if strings.HasPrefix(mirror.SignedBy, "/") {
			options = "[signed-by=" + mirror.SignedBy + "] "
		}
		for _, suite := range s.Suites {
			fmt.Fprintf(&b, "deb %s%s %s %s\n", options, mirror.URI, suite, strings.Join(s.Components, " "))
		}
	}
	return b.String()
}
