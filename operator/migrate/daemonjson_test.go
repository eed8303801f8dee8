package migrate

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// setConfig has daemon.json hold something; nothing is no file.
func (h host) setConfig(content *string) {
	h.Helper()
	if content == nil {
		h.no(os.Remove(h.config))
		return
	}
	h.no(errors.Join(os.WriteFile(h.config, []byte(*content), 0o600), os.Chmod(h.config, 0o640)))
}

// configIs compares daemon.json to the letter.
func (h host) configIs(when string, want *string) {
	h.Helper()
	if diff := cmp.Diff(want, h.configWas()); diff != "" {
		h.Errorf("%s, - wanted, + got:\n%s", when, diff)
	}
	if f, err := os.Stat(h.config); want != nil && (err != nil || f.Mode().Perm() != 0o640) {
		h.Errorf("%s: %v, %v", when, f, err)
	}
}

// TestDaemonJSON is changed where it has to be and stays to the letter elsewhere, and
// after an undo it is what it was. Both can be done again.
func TestDaemonJSON(t *testing.T) {
	const fresh = "{\n  \"experimental\": true,\n  \"storage-driver\": \"overlayzfs\"\n}\n"
	is := func(text string) *string { return &text }
	for name, tt := range map[string]struct {
		before   *string
		from, to string
		after    string
	}{
		"None":  {nil, "overlay2", "overlayzfs", fresh},
		"Empty": {is(""), "overlay2", "overlayzfs", fresh},
		"Others": {
			is("{\n\t\"zz\" : [ \"a\" ],\n\t\"storage-opts\": [\n\"Overlay2.size=1G\", \"x=1\"],\n\t\"debug\":true }"), "overlay2", "overlayzfs",
			"{\n\t\"zz\" : [ \"a\" ],\n\t\"storage-opts\": [\"x=1\", \"overlayzfs.size=1G\"],\n\t\"debug\":true,\n\t\"experimental\":true,\n\t\"storage-driver\":\"overlayzfs\" }",
		},
		"Only his": {
			is(`{"storage-opts": ["zfs.fsname=tank/x"], "debug": true}`), "zfs", "overlayzfs",
			`{"debug": true, "experimental": true, "storage-driver": "overlayzfs"}`,
		},
		"Back": {
			is(`{"experimental": true, "storage-opts": ["overlayzfs.dataset=tank/x", "keep=1"]}`), "overlayzfs", "zfs",
			`{"experimental": true, "storage-opts": ["keep=1", "zfs.fsname=tank/y"], "storage-driver": "zfs"}`,
		},
		"Back to where it was": {
			is(`{"experimental": true, "storage-opts": ["ZFS.fsname=tank/old", "overlayzfs.size=1G"]}`), "overlayzfs", "zfs",
			`{"experimental": true, "storage-opts": ["zfs.fsname=tank/y"], "storage-driver": "zfs"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, tt.from)
			h.setConfig(tt.before)
			j := &Job{From: tt.from, To: tt.to, ZFSDataset: "tank/y", Config: h.config, ConfigWas: h.configWas()}
			for range 2 {
				h.no(j.switchConfig())
				if diff := cmp.Diff(tt.after, string(h.loaded().Raw)); diff != "" {
					t.Errorf("- wanted, + got:\n%s", diff)
				}
			}
			for range 2 {
				h.no(j.restoreConfig())
				h.configIs("restored", tt.before)
			}
		})
	}
}

// TestDaemonJSONThatSomebodyEditedSince keeps that: only what the migration changed
// goes back.
func TestDaemonJSONThatSomebodyEditedSince(t *testing.T) {
	h := newHost(t, "overlay2")
	before := "{\n\t\"debug\": true,\n\t\"storage-opts\": [\n\t\t\"overlay2.size=1G\"\n\t]\n}\n"
	h.setConfig(&before)
	j := &Job{From: "overlay2", To: "overlayzfs", Config: h.config, ConfigWas: h.configWas()}
	h.no(j.switchConfig())
	edited := strings.Replace(string(h.loaded().Raw), "true", "false", 1)
	h.setConfig(&edited)
	for range 2 {
		h.no(j.restoreConfig())
		want := strings.Replace(before, "true", "false", 1)
		h.configIs("restored", &want)
	}
	h.setConfig(nil)
	h.no(j.restoreConfig())
	if raw := string(h.loaded().Raw); !strings.Contains(raw, "overlay2.size=1G") || strings.Contains(raw, "experimental") {
		t.Errorf("of a file that somebody removed there is %s", raw)
	}
}

// TestDaemonJSONThatDockerdWouldNotRead says where it is wrong.
func TestDaemonJSONThatDockerdWouldNotRead(t *testing.T) {
	h := newHost(t, "vfs")
	j := &Job{From: "vfs", To: "overlayzfs", Config: h.config, ConfigWas: h.configWas()}
	broken := "{\n  broken"
	h.setConfig(&broken)
	for _, err := range []error{j.switchConfig(), j.restoreConfig(), j.checkConfigured(), h.planning(Request{Config: h.config}).planConfig()} {
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), h.config) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%v", err)
		}
	}
}

// TestAHostThatWasSetUpBefore names the plugin in daemon.json already; the way back
// does not leave dockerd with a driver that has nothing.
func TestAHostThatWasSetUpBefore(t *testing.T) {
	h := newHost(t, "zfs")
	before := `{"storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.dataset=tank/x"], "experimental": true}`
	h.setConfig(&before)
	j := &Job{From: "zfs", To: "overlayzfs", ZFSDataset: "tank/docker", Config: h.config, ConfigWas: h.configWas()}
	h.no(j.switchConfig())
	h.configIs("switched", &before)
	for range 2 {
		h.no(j.restoreConfig())
		want := `{"storage-driver": "zfs", "storage-opts": ["zfs.fsname=tank/docker"], "experimental": true}`
		h.configIs("restored", &want)
	}
}

// TestDaemonJSONIsTheSameEverywhere: a run that goes on may begin in another
// directory.
func TestDaemonJSONIsTheSameEverywhere(t *testing.T) {
	h := newHost(t, "vfs")
	t.Chdir(filepath.Dir(h.config))
	w := Request{Root: h.dir, Config: "daemon.json"}
	h.no(h.within(func(r *dataRoot) error { return w.resolve(r) }))
	if !filepath.IsAbs(w.Config) || filepath.Base(w.Config) != "daemon.json" {
		t.Errorf("it is %s", w.Config)
	}
	if _, err := os.Stat(w.Config); err != nil {
		t.Error(err)
	}
	w.Config = ""
	if h.no(h.within(func(r *dataRoot) error { return w.resolve(r) })); w.Config != "" {
		t.Errorf("one that is left alone is %s", w.Config)
	}
}

// TestAPlanShowsNothingElseOfDaemonJSON: what is in it besides can be secret.
func TestAPlanShowsNothingElseOfDaemonJSON(t *testing.T) {
	secret := `{"log-opts": {"token": "secret"}}`
	p := &Plan{Job: Job{From: "vfs", Config: "/etc/docker/daemon.json", ConfigWas: &secret}}
	raw, err := json.Marshal(p)
	if err != nil || strings.Contains(string(raw), "secret") || !strings.Contains(string(raw), "daemon.json") {
		t.Errorf("%s, %v", raw, err)
	}
	if raw, err := json.Marshal(p.Job); err != nil || !strings.Contains(string(raw), "secret") {
		t.Errorf("a journal holds %s, %v", raw, err)
	}
}
