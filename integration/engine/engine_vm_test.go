//go:build vm

package engine

import (
	"strings"
	"testing"
)

func TestAnEngineOnThePlugin(t *testing.T) {
	e := StartOnPlugin(t, Options{Root: t.TempDir()}, "tank/first-light")
	info := e.Docker(t, "info")
	if !strings.Contains(info, "Storage Driver: overlayzfs") {
		t.Errorf("docker info:\n%s", info)
	}
	cmd := e.Command("import", "/lab/base/debian-base.tar", "base")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out := e.Docker(t, "run", "--rm", "--network", "none", "base", "cat", "/etc/debian_version"); out == "" {
		t.Error("no output")
	}
}
