package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/pluginimage"
	"github.com/overlayzfs/overlayzfs/operator/upgrade"
)

// TestWriteUpgrade compares the plans as `overlayzfs plugin upgrade` prints them.
func TestWriteUpgrade(t *testing.T) {
	plan := upgrade.Plan{Plugin: "overlayzfs:latest", From: "v0.1.0", To: "v0.2.0", Steps: []string{"disable plugin overlayzfs:latest", "…", "enable plugin overlayzfs:latest"}}
	var out bytes.Buffer
	if err := writeUpgrade(&out, plan); err != nil {
		t.Fatal(err)
	}
	golden(t, "plugin-upgrade.txt", out.String())
	out.Reset()
	if err := writeJSON(&out, plan); err != nil {
		t.Fatal(err)
	}
	golden(t, "plugin-upgrade.json", out.String())
	out.Reset()
	plan.Steps = nil
	if err := writeUpgrade(&out, plan); err != nil {
		t.Fatal(err)
	}
	golden(t, "plugin-upgrade-nothing.txt", out.String())
	golden(t, "plugin.txt", mustRun(t, "plugin"))
}

// TestWriteImage compares what the commands say that make an image of the plugin.
func TestWriteImage(t *testing.T) {
	pushed := pluginimage.Pushed{Reference: "registry.example.com/overlayzfs:0.2.0", Digest: "sha256:0123"}
	made := packed{"overlayzfs-plugin.oci.tar", "sha256:0123"}
	var out [4]bytes.Buffer
	if err := errors.Join(writePushed(&out[0], pushed), writeJSON(&out[1], pushed), writePacked(&out[2], made), writeJSON(&out[3], made)); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"plugin-push.txt", "plugin-push.json", "plugin-pack.txt", "plugin-pack.json"} {
		golden(t, name, out[i].String())
	}
}

// TestPluginEnable enables the plugin in the records of a data-root.
func TestPluginEnable(t *testing.T) {
	root, id := t.TempDir(), strings.Repeat("a", 64)
	path := filepath.Join(root, "plugins", id, "config.json")
	record := `{"plugin":{"Id":"` + id + `","Name":"overlayzfs:latest","Enabled":false,"Config":{"Interface":{"Types":["docker.graphdriver/1.0"]}}}}`
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(record), 0o600)); err != nil {
		t.Fatal(err)
	}
	args := []string{"plugin", "enable", "--root", root, "--dataset", "tank/layers"}
	golden(t, "plugin-enable.txt", mustRun(t, args...)+mustRun(t, args...))
	var record2 struct{ Plugin struct{ Enabled bool } }
	raw, err := os.ReadFile(path)
	if err := errors.Join(err, json.Unmarshal(raw, &record2)); err != nil || !record2.Plugin.Enabled {
		t.Errorf("%s, %v", raw, err)
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{append(args, "--driver", "other"), exitFailed, `no plugin "other"`},
		{[]string{"plugin", "push", "overlayzfs", "--plugin-dir", root}, exitUsage, "REGISTRY/NAME"},
		{[]string{"plugin", "push", "host/name:1", "--plugin-dir", root, "--layout", "x"}, exitUsage, "plugin-dir"},
		{[]string{"plugin", "push", "host/name:1", "--username", "x"}, exitUsage, "--password-stdin"},
		{[]string{"plugin", "push", "host/name:1", "--layout", root + "/none"}, exitFailed, root + "/none"},
		{[]string{"plugin", "pack", root + "/x.tar", "--plugin-dir", root}, exitFailed, "rootfs"},
		{[]string{"plugin", "upgrade", "--host", "tcp://x:1", "--plugin-dir", root}, exitUsage, "tcp://x:1"},
		{[]string{"plugin", "upgrade", "--plugin-dir", root, "--json"}, exitUsage, "--yes"},
		{[]string{"plugin", "upgrade", "--plugin-dir", root, "--dry-run"}, exitFailed, "config.json"},
		{[]string{"plugin", "upgrade", "x"}, exitUsage, "unexpected argument"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, testConsole(t, &out)); code != tt.code || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%q exits with %d and says %s", tt.args, code, &out)
		}
	}
}
