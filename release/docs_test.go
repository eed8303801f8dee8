package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	unnamed = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
)

// TestLinksLeadSomewhere checks links between documents, and to headings in them.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, path := range documentPaths(t) {
		for _, m := range link.FindAllStringSubmatch(prose(t, path), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			name, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if name != "" {
				target = filepath.Join(filepath.Dir(path), name)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if anchor != "" && !anchors(t, target)[anchor] {
				t.Errorf("%s: %s has no heading #%s", path, target, anchor)
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links were checked", links)
	}
}

// documentPaths returns the paths of the documents for users and contributors.
func documentPaths(t *testing.T) []string {
	t.Helper()
	all := []string{"../README.md", "../CHANGELOG.md", "../CONTRIBUTING.md", "../SECURITY.md"}
	err := filepath.WalkDir("../docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// prose returns a document without its fenced blocks.
func prose(t *testing.T, path string) string {
	t.Helper()
	return fenced.ReplaceAllString(text(t, path), "")
}

// anchors returns the headings of a document, as GitHub names them.
func anchors(t *testing.T, path string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose(t, path), -1) {
		name := unnamed.ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		all[strings.ReplaceAll(name, " ", "-")] = true
	}
	return all
}

var (
	made   = regexp.MustCompile(`(?m)(?:` + "`" + `|^ *|&& )(?:[A-Z]+=\S+ )?make ([a-z][a-z0-9-]*)`)
	tier   = regexp.MustCompile(`scripts/test ([a-z][a-z0-9-]*)`)
	shared = regexp.MustCompile(`/usr/share/overlayzfs/[a-z0-9./-]*[a-z]`)
)

// TestDocumentsNameWhatExists checks targets of make, tiers of tests, and files of the
// package.
func TestDocumentsNameWhatExists(t *testing.T) {
	share := newTree()
	if err := (&release{source: ".."}).addSamples(share); err != nil {
		t.Fatal(err)
	}
	makefile, tiers := text(t, "../Makefile"), text(t, "../scripts/test")
	seen := 0
	for _, path := range documentPaths(t) {
		document := text(t, path)
		for _, m := range made.FindAllStringSubmatch(code(document), -1) {
			seen++
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: make has no target %s", path, m[1])
			}
		}
		for _, m := range tier.FindAllStringSubmatch(document, -1) {
			seen++
			if !hasTier(tiers, m[1]) {
				t.Errorf("%s: scripts/test has no tier %s", path, m[1])
			}
		}
		for _, name := range shared.FindAllString(document, -1) {
			seen++
			if _, ok := share.files[strings.TrimPrefix(name, "/")]; !ok && name != "/usr/share/overlayzfs/plugin" {
				t.Errorf("%s: the package has no %s", path, name)
			}
		}
	}
	if seen < 40 {
		t.Errorf("%d names were checked", seen)
	}
}

// repositoryPath is a span that names a file or directory of this repository.
var repositoryPath = regexp.MustCompile("`((?:cmd|docs|integration|internal|layertar|operator|overlayzfs|plugin|quota|release|scripts|snapshot|snapshotter|tools|whiteout|zfs)/[A-Za-z0-9_./-]*)`")

// TestDocumentsNamePathsThatExist checks paths in code spans. The table of CONTRIBUTING.md
// names the lab's commands relative to integration/.
func TestDocumentsNamePathsThatExist(t *testing.T) {
	seen := 0
	for _, path := range documentPaths(t) {
		for _, m := range repositoryPath.FindAllStringSubmatch(prose(t, path), -1) {
			seen++
			_, err := os.Stat(filepath.Join("..", m[1]))
			if err != nil {
				_, err = os.Stat(filepath.Join("../integration", m[1]))
			}
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if seen < 40 {
		t.Errorf("%d paths were checked", seen)
	}
}

// hasTier reports whether a case of scripts/test matches the name.
func hasTier(script, name string) bool {
	script = regexp.MustCompile(`\\\n *`).ReplaceAllString(script, "")
	for _, m := range regexp.MustCompile(`(?m)^ +([a-z0-9*-]+(?: \| [a-z0-9*-]+)*)\)(?: |$)`).FindAllStringSubmatch(script, -1) {
		for _, pattern := range strings.Split(m[1], " | ") {
			if ok, err := path.Match(pattern, name); err == nil && ok && pattern != "*" {
				return true
			}
		}
	}
	return false
}

func text(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var span = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")

// code returns a document's fenced blocks and code spans.
func code(document string) string { return strings.Join(span.FindAllString(document, -1), "\n") }
