//go:build !vm

// These tests do not run in the guest, where TestNewcomer follows the steps.

package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentsMatchNewcomerSteps compares the commands of README.md and the plugin's
// quick start with those that TestNewcomer follows, in both directions.
func TestDocumentsMatchNewcomerSteps(t *testing.T) {
	var texts []string
	for _, document := range newcomerDocuments {
		raw, err := os.ReadFile("../../" + document)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(raw))
	}
	steps, err := matchSteps(texts)
	if err != nil {
		t.Fatal(err)
	}
	readme, page := texts[0], texts[1]
	shown := 0
	for _, step := range steps {
		shown += len(step.Labels())
	}
	if shown < 10 {
		t.Errorf("the documents show %d lines of output", shown)
	}
	const verify = "overlayzfs verify "
	for name, changed := range map[string]string{
		"an unknown command":         strings.Replace(page, verify, "overlayzfs polish\n"+verify, 1),
		"a command that is gone":     strings.Replace(page, verify, "# ", 1),
		"another command":            strings.Replace(page, verify, "overlayzfs verified ", 1),
		"one more at the end":        page + "\n```sh\nreboot\n```\n",
		"the last one that is gone":  strings.Replace(page, "\nrm /usr/local", "\n# ", 1),
		"commands in another order":  strings.Replace(page, "docker plugin create", "docker plugin enable", 1),
		"a block that does not end":  page + "\n```sh\n",
		"a file that is not written": strings.Replace(page, `{"experimental"`, `{"no"`, 1),
	} {
		if changed == page {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := matchSteps([]string{readme, changed}); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	for name, changed := range map[string]string{
		"one more in README.md":   readme + "\n```sh\nreboot\n```\n",
		"one that README.md lost": strings.Replace(readme, "make demo ", "# ", 1),
	} {
		if _, err := matchSteps([]string{changed, page}); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func TestCommandsAreAdaptedToTheLab(t *testing.T) {
	got := adaptCommand("docker run --rm x && zfs destroy POOL/docker@NAME && docker rm x", "snap-1")
	if want := "docker run --network none --rm x && zfs destroy tank/docker@snap-1 && docker rm x"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
