//go:build !vm

// These tests do not run in the guest, where TestSetup follows the steps.

package systemd

import (
	"os"
	"strings"
	"testing"
)

// TestThePageMatchesQuickStartSteps compares the commands of the snapshotter's quick start
// with those that TestSetup follows, in both directions.
func TestThePageMatchesQuickStartSteps(t *testing.T) {
	raw, err := os.ReadFile("../../" + quickStartPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	if _, err := matchQuickStart(page); err != nil {
		t.Fatal(err)
	}
	const df = "\noverlayzfs df\n"
	for name, changed := range map[string]string{
		"an unknown command":        strings.Replace(page, df, df+"overlayzfs polish\n", 1),
		"a command that is gone":    strings.Replace(page, df, "\n", 1),
		"another command":           strings.Replace(page, df, "\noverlayzfs dff\n", 1),
		"one more at the end":       page + "\n```sh\nreboot\n```\n",
		"the last one that is gone": strings.Replace(page, "\napt purge", "\n# ", 1),
		"another file":              strings.Replace(page, `{"features"`, `{"no"`, 1),
	} {
		if changed == page {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := matchQuickStart(changed); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func TestCommandsAreAdaptedToTheLab(t *testing.T) {
	got := adaptCommand("dpkg -i overlayzfs_VERSION_amd64.deb; docker run --rm x; overlayzfs setup POOL/docker", "1.2")
	if want := "dpkg -i overlayzfs_1.2_amd64.deb; docker run --network none --rm x; overlayzfs setup tank/docker"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
