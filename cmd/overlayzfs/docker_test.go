package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
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
		c.getenv = func(name string) string { return map[string]string{"DOCKER_HOST": tt.env, "HOME": t.TempDir()}[name] }
		code := execute(t.Context(), dockerCommand(c), strings.Fields(tt.args), c)
		if code != tt.code || !strings.Contains(out.String(), tt.output) {
			t.Errorf("docker %s exits with %d and says %q", tt.args, code, out.String())
		}
	}
}

// TestDockerContexts are those that docker would use, by its order: flags, environment,
// configuration file.
func TestDockerContexts(t *testing.T) {
	dir := t.TempDir()
	addContext(t, dir, "prod", "ssh://root@prod")
	addContext(t, dir, "local", "unix:///run/other.sock")
	addContext(t, dir, "odd", "")
	for name, tt := range map[string]struct {
		client  dockerClient
		env     map[string]string
		current string // of config.json
		host    string
		says    string
	}{
		"nothing":                       {},
		"the default in the file":       {current: `{"currentContext": "default"}`},
		"no context in the file":        {current: `{"auths": {}}`},
		"another machine in the file":   {current: `{"currentContext": "prod"}`, says: "ssh://root@prod"},
		"this machine in the file":      {current: `{"currentContext": "local"}`, host: "unix:///run/other.sock"},
		"a context without an endpoint": {current: `{"currentContext": "odd"}`, says: "another machine"},
		"a context that is nowhere":     {current: `{"currentContext": "lost"}`, says: "another machine"},
		"a broken file":                 {current: `{`, says: "config.json"},
		"the variable wins over the file": {
			current: `{"currentContext": "prod"}`, env: map[string]string{"DOCKER_CONTEXT": "local"}, host: "unix:///run/other.sock",
		},
		"a variable": {env: map[string]string{"DOCKER_CONTEXT": "prod"}, says: "DOCKER_CONTEXT=prod (ssh://root@prod)"},
		"the host's variable wins over the context's": {
			current: `{"currentContext": "prod"}`, env: map[string]string{"DOCKER_CONTEXT": "prod", "DOCKER_HOST": "unix:///run/docker.sock"},
		},
		"a host elsewhere":      {env: map[string]string{"DOCKER_HOST": "tcp://elsewhere:2375"}, says: "DOCKER_HOST=tcp://elsewhere"},
		"the flag of a host":    {client: dockerClient{hosts: []string{"unix:///a"}}, current: `{"currentContext": "prod"}`, host: "unix:///a"},
		"the flag of a context": {client: dockerClient{context: "prod"}, says: "--context prod (ssh://"},
		"the flag of ours":      {client: dockerClient{context: "local"}, current: `{"currentContext": "prod"}`, host: "unix:///run/other.sock"},
		"the flag of the default": {
			client: dockerClient{context: "default"}, current: `{"currentContext": "prod"}`, env: map[string]string{"DOCKER_CONTEXT": "prod"},
		},
		"the default is the variable's": {client: dockerClient{context: "default"}, env: map[string]string{"DOCKER_HOST": "ssh://elsewhere"}, says: "DOCKER_HOST=ssh"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "config.json")
			if err := os.WriteFile(file, []byte(tt.current), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.current == "" {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			for way, env := range map[string]map[string]string{"--config": {}, "DOCKER_CONFIG": {"DOCKER_CONFIG": dir}, "HOME": {"HOME": filepath.Dir(dir)}} {
				client := tt.client
				switch way {
				case "--config":
					client.config = dir
				case "HOME":
					link := filepath.Join(filepath.Dir(dir), ".docker")
					if err := os.Symlink(dir, link); err != nil && !errors.Is(err, os.ErrExist) {
						t.Fatal(err)
					}
				}
				maps.Copy(env, tt.env)
				host, err := client.localHost(func(name string) string { return env[name] })
				if host != tt.host || (err == nil) != (tt.says == "") || err != nil && (!strings.Contains(err.Error(), tt.says) || exitCode(err) != exitUsage) {
					t.Errorf("by %s: %q, %v", way, host, err)
				}
			}
		})
	}
}

// addContext makes a context as docker does.
func addContext(t *testing.T, dir, name, host string) {
	t.Helper()
	path := filepath.Join(dir, "contexts/meta", fmt.Sprintf("%x", sha256.Sum256([]byte(name))), "meta.json")
	raw := fmt.Sprintf(`{"Name": %q, "Metadata": {}, "Endpoints": {"docker": {"Host": %q, "SkipTLSVerify": false}}}`, name, host)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(raw), 0o600)); err != nil {
		t.Fatal(err)
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
