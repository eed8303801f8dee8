//go:build !vm

// Not in the guest, where TestNewcomer follows what is read here.

package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestTheREADMEIsAWayForNewcomers: every command in README.md is known to the
// test that follows it, and the other way round.
func TestTheREADMEIsAWayForNewcomers(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(raw)
	steps, err := matchSteps(readme)
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, step := range steps {
		shown += len(step.Labels())
	}
	if shown < 10 {
		t.Errorf("README.md shows %d lines of output", shown)
	}
	const verify = "overlayzfs verify "
	for name, changed := range map[string]string{
		"an unknown command":         strings.Replace(readme, verify, "overlayzfs polish\n"+verify, 1),
		"a command that is gone":     strings.Replace(readme, verify, "# ", 1),
		"another command":            strings.Replace(readme, verify, "overlayzfs verified ", 1),
		"one more at the end":        readme + "\n```sh\nreboot\n```\n",
		"the last one that is gone":  strings.Replace(readme, "\nrm /usr/local", "\n# ", 1),
		"commands in another order":  strings.Replace(readme, "docker plugin create", "docker plugin enable", 1),
		"a block that does not end":  readme + "\n```sh\n",
		"a file that is not written": strings.Replace(readme, `{"experimental"`, `{"no"`, 1),
	} {
		if changed == readme {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := matchSteps(changed); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func TestInTheLab(t *testing.T) {
	got := adaptCommand("docker run --rm x && zfs destroy POOL/data@NAME && docker rm x", "snap-1")
	if want := "docker run --network none --rm x && zfs destroy tank/data@snap-1 && docker rm x"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
