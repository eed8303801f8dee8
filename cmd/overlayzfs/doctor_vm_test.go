//go:build vm

package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestDoctorBesideAnotherCommand raises no alarm: what a running rollback or send has begun
// is no damage.
func TestDoctorBesideAnotherCommand(t *testing.T) {
	const dataset = "tank/examined"
	root, config := newHost(t, dataset)
	runCommand(t, 0, "", "setup", "--dataset", dataset, "--way", "plugin", "--root", root, "--config-file", config, "--yes")
	tryStore(t, dataset)
	tool(t, "set", "overlayzfs:rollback=cut", dataset)
	args := []string{"doctor", "--dataset", dataset, "--root", root, "--config-file", t.TempDir() + "/none"}
	if out := runCommand(t, exitBroken, "", args...); !strings.Contains(out, "a rollback to cut was cut short") {
		t.Errorf("%s", out)
	}
	var out bytes.Buffer
	c := testConsole(t, &out)
	if err := c.runLocked("send", func() error {
		if code := run(t.Context(), args, c); code != 0 || !strings.Contains(out.String(), "overlayzfs send, process ") || strings.Contains(out.String(), "cut short") {
			t.Errorf("beside a send it exits with %d:\n%s", code, &out)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
