package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/plugin"
)

func env(pairs map[string]string) func(string) string {
	return func(key string) string { return pairs[key] }
}

func TestOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		env    map[string]string
		level  logrus.Level
		driver []string
	}{
		"defaults":          {nil, nil, logrus.WarnLevel, nil},
		"environment":       {nil, map[string]string{envLogLevel: "debug", envOpts: " a=1, ,b=2,"}, logrus.DebugLevel, []string{"a=1", "b=2"}},
		"empty environment": {nil, map[string]string{envLogLevel: "", envOpts: ""}, logrus.WarnLevel, nil},
		"flags":             {[]string{"--log-level=error", "--opt=a=1", "--opt", "b=2,3"}, nil, logrus.ErrorLevel, []string{"a=1", "b=2,3"}},
		"flags over both":   {[]string{"--log-level=info", "--opt=a=1"}, map[string]string{envLogLevel: "nonsense", envOpts: "b=2"}, logrus.InfoLevel, []string{"a=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseOptions(tt.args, env(tt.env), &bytes.Buffer{})
			if err != nil || o.level != tt.level || !slices.Equal(o.driver, tt.driver) {
				t.Errorf("got %+v, %v", o, err)
			}
			if o.socket != defaultSocket || o.state != defaultState {
				t.Errorf("got %+v", o)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		code   int
		output string
	}{
		{[]string{"--version"}, 0, "overlayzfs-plugin "},
		{[]string{"--help"}, 0, "--socket"},
		{[]string{"--nonsense"}, exitUsage, "nonsense"},
		{[]string{"extra"}, exitUsage, "unexpected arguments: extra"},
		{[]string{"--log-level=loud"}, exitUsage, "loud"},
		{[]string{"--metrics=0.0.0.0:9477"}, exitUsage, "only loopback"},
		{[]string{"--socket=/dev/null/s"}, exitFailed, "/dev/null"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, env(nil), &out, &out); code != tt.code || !strings.Contains(out.String(), tt.output) {
			t.Errorf("%v exits with %d and says %q", tt.args, code, out.String())
		}
	}
}

// TestServe starts and stops the process, all but its signals, on a home that is not on
// ZFS.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	ctx, stop := context.WithCancel(t.Context())
	var out bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--socket", socket, "--state", filepath.Join(dir, "state")}, env(map[string]string{metrics.EnvAddress: "unix:" + dir + "/metrics"}), &out, &out)
	}()
	if got := awaitPlugin(t, socket); !strings.Contains(got, `"Implements":["GraphDriver"]`) {
		t.Errorf("the plugin implements %s", got)
	}
	if text := initPlugin(t, socket, plugin.InitParams{Home: filepath.Join(dir, "h"), Opts: []string{"nonsense"}}); !strings.Contains(text, `"Err":`) {
		t.Errorf("Init accepts a nonsense option: %s", text)
	}
	text := initPlugin(t, socket, plugin.InitParams{Home: filepath.Join(dir, "h"), UIDMaps: []plugin.IDMap{{ContainerID: 0, HostID: 1, Size: 1}}})
	if !strings.Contains(text, "userns-remap") {
		t.Errorf("Init with ID maps: %s", text)
	}
	page := scrape(t, dir+"/metrics")
	for _, line := range []string{"overlayzfs_store_up 0", `overlayzfs_operation_errors_total{class="invalid_argument",operation="init"} 1`, `overlayzfs_operation_errors_total{class="unsupported",operation="init"} 1`} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, page)
		}
	}
	stop()
	if got := <-code; got != 0 {
		t.Errorf("exits with %d: %s", got, out.String())
	}
}

// ask posts body to a unix socket, or gets path without a body.
func ask(t *testing.T, socket, path string, body []byte) (string, error) {
	t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	get := func() (*http.Response, error) { return client.Get("http://overlayzfs/" + path) }
	if body != nil {
		get = func() (*http.Response, error) {
			return client.Post("http://overlayzfs/"+path, "application/json", bytes.NewReader(body))
		}
	}
	answer, err := get()
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	return string(page), err
}

// scrape reads the metrics on a unix socket.
func scrape(t *testing.T, socket string) string {
	t.Helper()
	page, err := ask(t, socket, "metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// initPlugin calls Init and returns the answer.
func initPlugin(t *testing.T, socket string, p plugin.InitParams) string {
	t.Helper()
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ask(t, socket, "GraphDriver.Init", body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// awaitPlugin calls the plugin until it answers.
func awaitPlugin(t *testing.T, socket string) string {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(10 * time.Second)
	for range tick.C {
		got, err := ask(t, socket, "Plugin.Activate", []byte{})
		if err == nil {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	panic("unreachable: a ticker does not end")
}

// TestManifest compares config.json with the program.
func TestManifest(t *testing.T) {
	data, err := os.ReadFile("../../config.json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Entrypoint      []string
		PropagatedMount string
		Interface       struct {
			Types  []string
			Socket string
		}
		Network struct{ Type string }
		Linux   struct {
			Capabilities    []string
			AllowAllDevices bool
			Devices         []struct{ Path string }
		}
		Env []struct{ Name, Value string }
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Interface.Types, []string{"docker.graphdriver/1.0"}) || filepath.Base(defaultSocket) != m.Interface.Socket {
		t.Errorf("interface %+v", m.Interface)
	}
	if filepath.Dir(defaultState) != m.PropagatedMount {
		t.Errorf("the state file is not in %s", m.PropagatedMount)
	}
	if m.Network.Type != "" || m.Linux.AllowAllDevices || !slices.Equal(m.Linux.Capabilities, []string{"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"}) {
		t.Error("the plugin asks for privileges it does not need")
	}
	if len(m.Linux.Devices) != 1 || m.Linux.Devices[0].Path != "/dev/zfs" {
		t.Errorf("devices %+v", m.Linux.Devices)
	}
	vars := make(map[string]string)
	for _, v := range m.Env {
		vars[v.Name] = v.Value
	}
	if len(vars) != 3 || vars[envLogLevel] != "warn" || vars[envOpts] != "" || vars[metrics.EnvAddress] != "" {
		t.Errorf("environment %v", vars)
	}
	if _, err := parseOptions(nil, env(vars), &bytes.Buffer{}); err != nil {
		t.Errorf("the manifest's own environment: %v", err)
	}
}
