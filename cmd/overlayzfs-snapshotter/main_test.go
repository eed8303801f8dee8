package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/quota"
)

func TestConfig(t *testing.T) {
	s, err := decode([]byte(`
version = 1
socket = "/run/x.sock"
root = "/srv/layers"
log-level = "debug"
remap-ids = false

[store]
dataset = "tank/layers"
sync = "disabled"
quota = "dataset"
snapshots = "stop:3,daily:7"

[limits]
size = "10G"
inodes = "100000"
labels = "any"

[limits.namespaces."k8s.io"]
size = "20G"

[limits.namespaces.moby]
size = "0"
inodes = "0"
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	if c.socket != "/run/x.sock" || c.level != logrus.DebugLevel || c.options.Home != "/srv/layers" || c.options.RemapIDs {
		t.Errorf("%+v", c)
	}
	if o := c.options.Store; o.Dataset != "tank/layers" || o.Sync != "disabled" || o.Quota != quota.Dataset || len(o.Snapshots) != 2 {
		t.Errorf("%+v", o)
	}
	if l := c.options.Limits; l.Default != (quota.Limits{Bytes: 10 << 30, Inodes: 100000}) || l.Labels != "any" {
		t.Errorf("%+v", l)
	}
	want := map[string]quota.Limits{"k8s.io": {Bytes: 20 << 30, Inodes: 100000}, "moby": {}}
	if diff := cmp.Diff(want, c.options.Limits.Namespaces); diff != "" {
		t.Errorf("name spaces (-want +got):\n%s", diff)
	}
}

func TestConfigErrorsNameTheSetting(t *testing.T) {
	for text, want := range map[string]string{
		"[limits]\nsiez = \"10G\"":                     "limits.siez (line 2)",
		"[stroe]\ndataset = \"a\"":                     "stroe",
		"version = 2":                                  "version = 2",
		"socket = 3":                                   "line 1",
		"socket = \"x\"":                               "socket = \"x\": want an absolute",
		"root = \"x\"":                                 "root = \"x\": want an absolute",
		"log-level = \"loud\"":                         "loud",
		"[limits]\nsize = \"much\"":                    "limits.size",
		"[limits]\ninodes = \"-1\"":                    "limits.inodes",
		"[limits]\nkeys = \"(\"":                       "limits.keys",
		"[limits]\nkeys = \"\"":                        "limits.keys is empty",
		"[limits]\nlabels = \"some\"":                  "some",
		"[limits.namespaces.\"k8s.io\"]\nsize = \"x\"": `limits.namespaces."k8s.io".size`,
		"[limits.namespaces.moby]\nsiez = \"1G\"":      "limits.namespaces.moby.siez (line 2)",
		"[store]\nsync = \"maybe\"":                    "store.sync",
		"[store]\ndataset = \"tank/../x\"":             "store.dataset",
		"[store]\nsnapshots = \"never:often\"":         "store.snapshots",
		"not toml":                                     "line 1",
	} {
		s, err := decode([]byte(text))
		if err == nil {
			_, err = s.config()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("x = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		code   int
		output string
	}{
		{[]string{"--version"}, 0, "overlayzfs-snapshotter "},
		{[]string{"--help"}, 0, "--config"},
		{[]string{"--nonsense"}, exitUsage, "nonsense"},
		{[]string{"extra"}, exitUsage, "unexpected arguments: extra"},
		{[]string{"--config", bad}, exitUsage, "unknown settings: x (line 1)"},
		{[]string{"--config", "/nonexistent"}, exitUsage, "/nonexistent"},
		{[]string{"--log-level=loud"}, exitUsage, "loud"},
		{[]string{"--metrics=192.0.2.1:9477"}, exitUsage, "only loopback"},
		{[]string{"--check"}, 0, ""},
		{[]string{"--socket=/dev/null/s"}, exitFailed, "/dev/null"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, noEnv, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.output) {
			t.Errorf("%v exits with %d and says %q", tt.args, code, out.String())
		}
	}
}

func TestFlagsOverrideTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("socket = \"/a\"\nroot = \"/b\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := parseFlags([]string{"-c", path, "--socket=/c", "--dataset=tank/x"}, noEnv, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.load()
	if err != nil || c.socket != "/c" || c.options.Home != "/b" || c.options.Store.Dataset != "tank/x" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestStoreState(t *testing.T) {
	if got := storeState(nil); got != "READY=1\nSTATUS=serving" {
		t.Errorf("%q", got)
	}
	if got := storeState(os.ErrNotExist); !strings.HasPrefix(got, "READY=1\nSTATUS=cannot open the store: ") {
		t.Errorf("%q", got)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("version = 1\n[limits]\nsize = \"10G\"\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := decode(raw)
		if err != nil {
			return
		}
		c, err := s.config()
		if err == nil && (!filepath.IsAbs(c.socket) || c.options.Limits.Keys == nil) {
			t.Errorf("%q: %+v", raw, c)
		}
	})
}

// TestSampleHasTheDefaults compares the packaged file with the program.
func TestSampleHasTheDefaults(t *testing.T) {
	raw, err := os.ReadFile("../../dist/overlayzfs/snapshotter.toml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults(), got); diff != "" {
		t.Errorf("the sample differs from the defaults (-want +got):\n%s", diff)
	}
	stanza, err := os.ReadFile("../../dist/containerd/config.toml")
	if err != nil || !strings.Contains(string(stanza), `"`+defaultSocket+`"`) {
		t.Errorf("containerd's sample names another socket, %v", err)
	}
}

// noEnv is an empty environment.
func noEnv(string) string { return "" }

// TestMetricsPrecedence: a flag wins over the environment, that over the file.
func TestMetricsPrecedence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("metrics = \"unix:/file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := func(string) string { return "unix:/env" }
	for want, tt := range map[string]struct {
		args   []string
		getenv func(string) string
	}{
		"unix:/file":     {nil, noEnv},
		"unix:/env":      {nil, named},
		"127.0.0.1:9477": {[]string{"--metrics=127.0.0.1:9477"}, named},
		"":               {[]string{"--metrics="}, noEnv},
	} {
		f, err := parseFlags(append(tt.args, "-c", path), tt.getenv, &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := f.load(); err != nil || c.metrics.String() != want {
			t.Errorf("%v: %q, %v, want %q", tt.args, c.metrics, err, want)
		}
	}
}
