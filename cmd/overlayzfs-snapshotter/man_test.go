//go:build !vm

// The guest has no documentation.

package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestManualPageHasEveryFlag compares the flags of the manual page and of --help.
func TestManualPageHasEveryFlag(t *testing.T) {
	raw, err := os.ReadFile("../../dist/man/overlayzfs-snapshotter.8")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(raw), `\-`, "-")
	var help bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, noEnv, &help, &help); code != 0 {
		t.Fatal(help.String())
	}
	flag := regexp.MustCompile(`--[a-z-]+`)
	shown := flag.FindAllString(help.String(), -1)
	if len(shown) < 5 {
		t.Fatalf("help shows %q", shown)
	}
	for _, name := range shown {
		if !strings.Contains(page, name) {
			t.Errorf("the manual page lacks %s", name)
		}
	}
	for _, name := range flag.FindAllString(page, -1) {
		if !strings.Contains(help.String(), name) {
			t.Errorf("the manual page has %s, which --help lacks", name)
		}
	}
}
