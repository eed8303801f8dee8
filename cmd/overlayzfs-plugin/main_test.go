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

// TestServe starts the whole process but for its signals, on a home that is
// no ZFS, and stops it.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	ctx, stop := context.WithCancel(t.Context())
	var out bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--socket", socket, "--state", filepath.Join(dir, "state")}, env(map[string]string{metrics.EnvAddress: "unix:" + dir + "/metrics"}), &out, &out)
	}()
	c := plugin.NewClient(socket)
	defer c.Close()
	if got := awaitPlugin(t, c); !slices.Equal(got, []string{"GraphDriver"}) {
		t.Errorf("it implements %v", got)
	}
	if err := c.Init(t.Context(), plugin.InitParams{Home: filepath.Join(dir, "h"), Opts: []string{"nonsense"}}); err == nil {
		t.Error("Init took a nonsense option")
	}
	err := c.Init(t.Context(), plugin.InitParams{Home: filepath.Join(dir, "h"), UIDMaps: []plugin.IDMap{{ContainerID: 0, HostID: 1, Size: 1}}})
	if err == nil || !strings.Contains(err.Error(), "userns-remap") {
		t.Errorf("Init with ID maps: %v", err)
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

// scrape reads the metrics on a unix socket.
func scrape(t *testing.T, socket string) string {
	t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("http://overlayzfs/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// awaitPlugin calls until the plugin answers.
func awaitPlugin(t *testing.T, c *plugin.Client) []string {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(10 * time.Second)
	for range tick.C {
		got, err := c.Activate(t.Context())
		if err == nil {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	panic("unreachable: a ticker does not end")
}

// TestManifest holds config.json and the program to each other.
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
	if m.Network.Type != "" || m.Linux.AllowAllDevices || !slices.Equal(m.Linux.Capabilities, []string{"CAP_SYS_ADMIN"}) {
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
