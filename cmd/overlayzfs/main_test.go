package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/snapshot"
)

// testConsole is the console of a host without Docker. It answers no question.
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
		{[]string{"nonsense"}, exitUsage, "unknown command \"nonsense\"; `overlayzfs --help`"},
		{[]string{"snapshto"}, exitUsage, "did you mean snapshot or snapshots?"},
		{[]string{"sn"}, exitUsage, "did you mean snapshot or snapshots?"},
		{[]string{"version"}, 0, "overlayzfs version"},
		{[]string{"rollback"}, exitUsage, "missing argument NAME; usage: overlayzfs rollback NAME [flags]"},
		{[]string{"rollback", "x", "--nonsense"}, exitUsage, "nonsense"},
		{[]string{"rollback", "x"}, exitUsage, "--dataset"},
		{[]string{"rollback", "tank/a@x", "--dataset", "tank/b"}, exitUsage, "not a snapshot of tank/b"},
		{[]string{"snapshots"}, exitUsage, "--dataset"},
		{[]string{"snapshots", "extra"}, exitUsage, "extra"},
		{[]string{"ls", "extra"}, exitUsage, "unexpected argument \"extra\""},
		{[]string{"ls", "--columns", "layer,shine"}, exitUsage, "no column \"shine\"; the columns are layer,"},
		{[]string{"df", "-H", "--json"}, exitUsage, "--no-header means nothing with --json"},
		{[]string{"inspect"}, exitUsage, "missing argument NAME"},
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
		errDeclined:                     exitRefused,
		fmt.Errorf("x: %w", errRefused): exitRefused,
		findings{"x", exitBroken}:       exitBroken,
		errors.New("x"):                 exitFailed,
	} {
		if got := exitCode(err); got != code {
			t.Errorf("%v: %d, want %d", err, got, code)
		}
	}
}

func TestSplitSnapshot(t *testing.T) {
	for name, want := range map[string]string{"x": "", "@x": "", "tank/a@x": "tank/a"} {
		var p storeFlags
		if bare, err := p.splitSnapshot(name); err != nil || bare != "x" || p.dataset != want {
			t.Errorf("%s: %q on %q, %v", name, bare, p.dataset, err)
		}
	}
}

func TestConfirm(t *testing.T) {
	for answer, ok := range map[string]bool{"yes\n": true, "Y\n": true, "no\n": false, "\n": false, "": false} {
		var out bytes.Buffer
		err := confirm(t.Context(), console{in: strings.NewReader(answer), out: &out}, "Really?")
		if (err == nil) != ok || !strings.Contains(out.String(), "Really?") {
			t.Errorf("%q: %v", answer, err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := confirm(t.Context(), console{in: null, out: &bytes.Buffer{}}, "Really?"); exitCode(err) != exitUsage {
		t.Errorf("without a terminal: %v", err)
	}
}

// TestErrorsAdviseRoot where a user's privileges are the reason, and once only.
func TestErrorsAdviseRoot(t *testing.T) {
	denied := &fs.PathError{Op: "open", Path: "/run/overlayzfs.lock", Err: unix.EACCES}
	for _, tt := range []struct {
		err  error
		uid  int
		want string
	}{
		{fmt.Errorf("lock out other commands: %w", denied), 65534, "lock out other commands: open /run/overlayzfs.lock: permission denied; run it as root"},
		{denied, 0, "open /run/overlayzfs.lock: permission denied"},
		{unix.EPERM, 1000, "operation not permitted; run it as root"},
		{fmt.Errorf("run as root: %w", unix.EACCES), 1000, "run as root: permission denied"},
		{errors.New("x"), 1000, "x"},
	} {
		if got := errorText(tt.err, tt.uid); got != tt.want {
			t.Errorf("%v of user %d: %s", tt.err, tt.uid, got)
		}
	}
}
