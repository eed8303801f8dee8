package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/snapshot"
)

// testConsole is a console of a test that answers nothing, on a host without
// Docker.
func testConsole(t *testing.T, out *bytes.Buffer) console {
	dir := t.TempDir()
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"data-root": %q}`, filepath.Join(dir, "docker")), 0o600); err != nil {
		t.Fatal(err)
	}
	return console{strings.NewReader(""), out, out, func(string) string { return "" }, filepath.Join(dir, "lock"), config}
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		code   int
		output string
	}{
		{[]string{"--version"}, 0, "overlayzfs version"},
		{[]string{"--help"}, 0, "rollback"},
		{nil, 0, "Exit codes"},
		{[]string{"rollback", "--help"}, 0, "--destroy-newer"},
		{[]string{"--nonsense"}, exitUsage, "nonsense"},
		{[]string{"nonsense"}, exitUsage, "nonsense"},
		{[]string{"rollback"}, exitUsage, "arg"},
		{[]string{"rollback", "x", "--nonsense"}, exitUsage, "nonsense"},
		{[]string{"rollback", "x"}, exitUsage, "--dataset"},
		{[]string{"rollback", "tank/a@x", "--dataset", "tank/b"}, exitUsage, "another dataset"},
		{[]string{"snapshots"}, exitUsage, "--dataset"},
		{[]string{"snapshots", "extra"}, exitUsage, "extra"},
		{[]string{"ls", "extra"}, exitUsage, "extra"},
		{[]string{"inspect"}, exitUsage, "arg"},
		{[]string{"verify", "image"}, exitUsage, "--dataset"},
		{[]string{"gc", "--json"}, exitUsage, "--yes"},
		{[]string{"gc"}, exitUsage, "--dataset"},
		{[]string{"snapshot", "--dataset", "tank/@"}, exitUsage, "tank/@"},
		{[]string{"migrate", "--json"}, exitUsage, "--yes"},
		{[]string{"migrate", "--undo", "--finish"}, exitUsage, "undo"},
		{[]string{"migrate", "--dry-run"}, exitUsage, "--dataset"},
		{[]string{"migrate", "--from", "overlay2", "--zfs-dataset", "tank/a"}, exitUsage, "--from zfs"},
		{[]string{"migrate", "--back", "--zfs-dataset", "tank/a"}, exitUsage, "--back --to zfs"},
		{[]string{"rollback", "x", "--dataset", "tank/a", "--json"}, exitUsage, "--yes"},
	} {
		var out bytes.Buffer
		c := testConsole(t, &out)
		if code := run(t.Context(), tt.args, c); code != tt.code || !strings.Contains(out.String(), tt.output) {
			t.Errorf("%v exits with %d and says %q", tt.args, code, out.String())
		}
	}
	for err, code := range map[error]int{
		errors.Join(errors.New("x"), snapshot.ErrUnfinished): exitUnfinished,
		snapshot.ErrRefused:             exitRefused,
		errNotAgreed:                    exitRefused,
		fmt.Errorf("x: %w", errRefused): exitRefused,
		findings{"x", exitBroken}:       exitBroken,
		errors.New("x"):                 exitFailed,
	} {
		if got := exitCode(err); got != code {
			t.Errorf("%v: %d, want %d", err, got, code)
		}
	}
}

func TestDatasetBeforeTheName(t *testing.T) {
	for name, want := range map[string]string{"x": "", "@x": "", "tank/a@x": "tank/a"} {
		var p place
		if bare, err := p.split(name); err != nil || bare != "x" || p.dataset != want {
			t.Errorf("%s: %q on %q, %v", name, bare, p.dataset, err)
		}
	}
}

func TestAgree(t *testing.T) {
	for answer, ok := range map[string]bool{"yes\n": true, "Y\n": true, "no\n": false, "\n": false, "": false} {
		var out bytes.Buffer
		err := agree(t.Context(), console{in: strings.NewReader(answer), out: &out}, "Really?")
		if (err == nil) != ok || !strings.Contains(out.String(), "Really?") {
			t.Errorf("%q: %v", answer, err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := agree(t.Context(), console{in: null, out: &bytes.Buffer{}}, "Really?"); exitCode(err) != exitUsage {
		t.Errorf("without a terminal: %v", err)
	}
}
