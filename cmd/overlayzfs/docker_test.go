package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestDockerPlugin runs the command as docker does: docker's arguments, and the plugin's
// name among them.
func TestDockerPlugin(t *testing.T) {
	for _, tt := range []struct {
		args   string
		env    string
		code   int
		output string
	}{
		{"overlayzfs --help", "", 0, "docker overlayzfs [command]"},
		{"help overlayzfs", "", 0, "docker overlayzfs [command]"},
		{"overlayzfs --version", "", 0, "overlayzfs version"},
		{"overlayzfs rollback", "", exitUsage, "arg"},
		{"--config /x -D overlayzfs rollback", "", exitUsage, "arg"},
		{"--context default -H unix:///run/docker.sock overlayzfs snapshots", "", exitUsage, "--dataset"},
		{"-H unix:///nowhere/docker.sock overlayzfs setup tank/a", "", exitUsage, "/nowhere/docker.sock"},
		{"-H unix:///nowhere/docker.sock overlayzfs setup tank/a --host unix:///other.sock", "", exitUsage, "/other.sock"},
		{"-H unix:///nowhere/docker.sock overlayzfs setup tank/a --way x", "", exitUsage, "for --way"},
		{"-H ssh://elsewhere overlayzfs snapshots --dataset tank/a", "", exitUsage, "elsewhere"},
		{"-c elsewhere overlayzfs snapshots --dataset tank/a", "", exitUsage, "elsewhere"},
		{"--tls overlayzfs snapshots --dataset tank/a", "", exitUsage, "--tls"},
		{"overlayzfs snapshots --dataset tank/a", "tcp://elsewhere:2375", exitUsage, "DOCKER_HOST"},
		{"__complete overlayzfs snap", "", 0, "snapshots\t"},
	} {
		var out bytes.Buffer
		c := testConsole(t, &out)
		c.getenv = func(name string) string { return map[string]string{"DOCKER_HOST": tt.env}[name] }
		code := execute(t.Context(), dockerCommand(c), strings.Fields(tt.args), c)
		if code != tt.code || !strings.Contains(out.String(), tt.output) {
			t.Errorf("docker %s exits with %d and says %q", tt.args, code, out.String())
		}
	}
}

// TestMetadata asks for the metadata, as docker does before it lists a plugin.
func TestMetadata(t *testing.T) {
	var out bytes.Buffer
	c := testConsole(t, &out)
	if code := execute(t.Context(), dockerCommand(c), []string{"docker-cli-plugin-metadata"}, c); code != 0 {
		t.Fatal(out.String())
	}
	var m map[string]string
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	if m["SchemaVersion"] != "0.1.0" || m["Vendor"] == "" || m["Version"] == "" || m["ShortDescription"] == "" {
		t.Errorf("%v", m)
	}
}
