package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/limit"
)

func TestLimitFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "missing argument CONTAINER"},
		{[]string{"web"}, "pass --size, --inodes or --none"},
		{[]string{"web", "--size", "plenty"}, `--size "plenty": want a size`},
		{[]string{"web", "--size", "10K"}, "1M or more"},
		{[]string{"web", "--inodes", "1e3"}, `--inodes "1e3": want a number`},
		{[]string{"web", "--size", "1G", "--none"}, "--size means nothing with --none"},
		{[]string{"web", "--inodes", "100", "--none"}, "--inodes means nothing with --none"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"limit"}, tt.args...), testConsole(t, &out)); code != exitUsage || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%q exits with %d: %s", tt.args, code, out.String())
		}
	}
}

func TestParseLimit(t *testing.T) {
	var text, asJSON bytes.Buffer
	for _, tt := range []struct {
		flags         limitFlags
		bytes, inodes uint64
	}{
		{limitFlags{size: "20G"}, 20 << 30, 1},
		{limitFlags{size: "0", inodes: "500"}, 0, 500},
		{limitFlags{none: true}, 0, 0},
	} {
		change, err := tt.flags.parse()
		if err != nil {
			t.Fatal(err)
		}
		if change.Bytes == nil || *change.Bytes != tt.bytes || (change.Inodes == nil) != (tt.inodes == 1) || change.Inodes != nil && *change.Inodes != tt.inodes {
			t.Errorf("%+v means %+v", tt.flags, change)
		}
		r := limit.Report{Container: "web", Layer: "1", Change: change}
		if err := errors.Join(writeLimit(&text, r), writeJSON(&asJSON, r)); err != nil {
			t.Error(err)
		}
	}
	golden(t, "limit.txt", text.String())
	golden(t, "limit.json", asJSON.String())
}

// TestLimitAsksTheSnapshotter is about a host without a plugin, whose snapshotter does not run.
func TestLimitAsksTheSnapshotter(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "snapshotter.toml")
	if err := os.WriteFile(config, []byte("version = 1\nsocket = \""+dir+"/none.sock\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := testConsole(t, &out)
	f := limitFlags{storeFlags: &storeFlags{config: c.config}, snapshotter: config, none: true}
	f.wanted.Root = dir
	change, err := f.parse()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.set(t.Context(), "web", change); err == nil || !strings.Contains(err.Error(), dir+"/none.sock") {
		t.Errorf("the snapshotter does not run: %v", err)
	}
	f.dryRun = true
	if r, err := f.set(t.Context(), "web", change); err != nil || r.Container != "web" || !r.DryRun {
		t.Errorf("a dry run: %+v, %v", r, err)
	}
	f.snapshotter = filepath.Join(dir, "none.toml")
	if _, err := f.set(t.Context(), "web", change); exitCode(err) != exitUsage {
		t.Errorf("neither door is installed: %v", err)
	}
}
