package upgrade

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

const (
	oldVersion = "ZFS (v1, commit a)"
	newVersion = "ZFS (v2, commit b)"
)

// TestMain looks often: nothing here takes dockerd's time.
func TestMain(m *testing.M) {
	lookEvery = time.Millisecond
	os.Exit(m.Run())
}

// engine answers as dockerd does.
type engine struct {
	enabled           bool
	description       string
	inUse             bool
	running           int
	failing           string // the end of a path that is refused
	calls             []string
	looks             int  // at the plugin
	enabledAt         int  // the look at which dockerd has enabled it
	disabledElsewhere bool // dockerd disables it for another command
}

// ServeHTTP answers a request.
func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := strings.TrimPrefix(r.URL.Path, "/plugins/overlayzfs:latest/")
	refuse := func(why string) {
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": why})
	}
	if call == "disable" && r.URL.Query().Get("force") == "true" {
		call = "disable by force"
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/json") && r.URL.Path != "/containers/json":
		e.looks++
		e.enabled = e.enabled || e.looks == e.enabledAt
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": "a", "Name": "overlayzfs:latest", "Enabled": e.enabled, "Config": map[string]string{"Description": e.description}})
		return
	case r.URL.Path == "/containers/json":
		_ = json.NewEncoder(w).Encode(make([]struct{}, e.running))
		return
	case r.URL.Path == "/plugins/privileges":
		_, _ = w.Write([]byte("[]"))
		return
	case call == "disable" && e.disabledElsewhere:
		e.enabled = false
		refuse("plugin is already disabled")
	case call == e.failing:
		refuse("it failed")
	case call == "disable" && e.inUse:
		refuse("plugin is in use")
	case strings.HasPrefix(call, "disable"):
		e.enabled = false
	case call == "enable":
		e.enabled = true
	case call == "upgrade":
		e.description = newVersion
	}
	e.calls = append(e.calls, call)
}

// connect serves the engine, and returns a client of it and the new plugin's directory.
func connect(t *testing.T, e *engine) (*dockerd.Client, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: e}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	client, err := dockerd.Connect("unix://" + path)
	if err := errors.Join(err, os.Mkdir(filepath.Join(dir, "rootfs"), 0o755), os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"description": "`+newVersion+`"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	return client, dir
}

func TestUpgrade(t *testing.T) {
	for name, tt := range map[string]struct {
		engine   engine
		isDriver bool
		calls    []string
		err      error
	}{
		"beside another driver":         {engine{enabled: true, description: oldVersion, running: 3}, false, []string{"disable", "upgrade", "enable"}, nil},
		"under its engine":              {engine{enabled: true, description: oldVersion, inUse: true}, true, []string{"disable", "disable by force", "upgrade", "enable"}, nil},
		"nothing to do":                 {engine{enabled: true, description: newVersion, running: 1}, true, nil, nil},
		"cut short before the program":  {engine{description: oldVersion}, true, []string{"upgrade", "enable"}, nil},
		"cut short after the program":   {engine{description: newVersion}, true, []string{"enable"}, nil},
		"containers run":                {engine{enabled: true, description: oldVersion, inUse: true, running: 1}, true, nil, fault.Busy},
		"containers run unexpectedly":   {engine{enabled: true, description: oldVersion, inUse: true, running: 1}, false, []string{"disable"}, fault.Busy},
		"the program is not accepted":   {engine{enabled: true, description: oldVersion, failing: "upgrade"}, false, []string{"disable", "upgrade", "enable"}, errAny},
		"the program cannot be started": {engine{enabled: true, description: oldVersion, failing: "enable"}, false, []string{"disable", "upgrade", "enable"}, ErrDisabled},
		"it is disabled meanwhile":      {engine{enabled: true, description: oldVersion, disabledElsewhere: true}, false, []string{"disable", "upgrade", "enable"}, nil},
		"the plugin cannot be disabled": {engine{enabled: true, description: oldVersion, failing: "disable by force", inUse: true}, false, []string{"disable", "disable by force"}, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			client, dir := connect(t, &tt.engine)
			p, err := Prepare(t.Context(), client, "overlayzfs:latest", dir, tt.isDriver)
			if err == nil {
				err = p.Run(t.Context())
			}
			if (err == nil) != (tt.err == nil) || tt.err != nil && tt.err != errAny && !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			if !slices.Equal(tt.engine.calls, tt.calls) {
				t.Errorf("%q, want %q", tt.engine.calls, tt.calls)
			}
		})
	}
}

// TestAwaitEnd waits for an enabling that a killed command has begun.
func TestAwaitEnd(t *testing.T) {
	proc := t.TempDir()
	shim := filepath.Join(proc, "7/cmdline")
	if err := errors.Join(os.Mkdir(filepath.Dir(shim), 0o700), os.WriteFile(shim, []byte("/usr/bin/containerd-shim-runc-v2\x00-id\x00a\x00"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if !isRunning(proc, "a") || isRunning(proc, "b") || isRunning(t.TempDir(), "a") {
		t.Error("the plugin's process is not seen, or another is taken for it")
	}
	e := &engine{description: oldVersion, enabledAt: 3}
	client, _ := connect(t, e)
	plugin, err := awaitEnd(t.Context(), client, dockerd.Plugin{ID: "a", Name: "overlayzfs:latest"}, proc)
	if err != nil || !plugin.Enabled || e.looks != 3 {
		t.Errorf("%+v after %d looks, %v", plugin, e.looks, err)
	}
}

// errAny stands for an error without a class.
var errAny = errors.New("any")

// TestEnable changes one value of Docker's record.
func TestEnable(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "plugins/a/config.json")
	const record = `{"plugin":{"Config":{"Env":[]},"Enabled":false,"Id":"a","Settings":{"Env":["A=<1>"]}},"Rootfs":"x","Config":"sha256:1"}`
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(record), 0o600)); err != nil {
		t.Fatal(err)
	}
	if changed, err := Enable(root, dockerstore.Plugin{ID: "a", Enabled: true}); changed || err != nil {
		t.Errorf("an enabled one: %v, %v", changed, err)
	}
	if changed, err := Enable(root, dockerstore.Plugin{ID: "a"}); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := errors.Join(json.Unmarshal(raw, &got), json.Unmarshal([]byte(strings.Replace(record, "false", "true", 1)), &want)); err != nil || !equal(got, want) {
		t.Errorf("%s, %v", raw, err)
	}
	for _, broken := range []string{"", "{}", `{"plugin": 1}`} {
		if _, err := setEnabled([]byte(broken)); err == nil {
			t.Errorf("%q is taken for a record", broken)
		}
	}
}

func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
