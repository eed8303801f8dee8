package main

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
)

// TestStreamsAreShown keeps what is said of streams before and after.
func TestStreamsAreShown(t *testing.T) {
	full := transfer.Header{
		Name: "overlayzfs-sent-20260824T101500.000Z", GUID: 7, Time: time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC), Bytes: 3 << 30,
		Images: 8, Layers: 31, Format: 1, OpenZFS: "2.3.9-1",
	}
	more := full
	more.From, more.FromGUID, more.Bytes = "overlayzfs-sent-20260823T101500.000Z", 5, 5<<20
	misfit := arrival{Header: more, Dataset: "tank/docker", Root: "/var/lib/docker", Lost: []string{`image 0123456789ab ["mine:1"]`},
		Refused: transfer.Target{Dataset: "tank/docker"}.FindMisfits(more, false)}
	for name, show := range map[string]func(*bytes.Buffer) error{
		"receive.txt": func(out *bytes.Buffer) error {
			return writeArrival(out, arrival{Header: full, Dataset: "tank/docker", Root: "/var/lib/docker"})
		},
		"receive.json":     func(out *bytes.Buffer) error { return writeJSON(out, misfit) },
		"receive-lost.txt": func(out *bytes.Buffer) error { return writeArrival(out, misfit) },
		"send.txt": func(out *bytes.Buffer) error {
			return (&sendFlags{}).report(console{err: out}, shipment{Header: full, Dataset: "tank/docker", Written: 3 << 30})
		},
		"send.json": func(out *bytes.Buffer) error {
			return (&sendFlags{output: output{json: true}}).report(console{out: out}, shipment{Header: more, Dataset: "tank/docker", Written: 5 << 20})
		},
		"receive-finish.txt": func(out *bytes.Buffer) (err error) {
			for _, e := range endings() {
				err = errors.Join(err, (&receiveFlags{}).reportFinish(console{out: out}, e, host.Location{Dataset: "tank/docker", Driver: "overlayzfs"}))
			}
			return err
		},
		"receive-finish.json": func(out *bytes.Buffer) (err error) {
			for _, e := range endings() {
				err = errors.Join(err, (&receiveFlags{output: output{json: true}}).reportFinish(console{out: out}, e, host.Location{}))
			}
			return err
		},
	} {
		var out bytes.Buffer
		if err := show(&out); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

// endings are how receive --finish can end: of a dry run with something to finish
// there is no text beyond what was said before.
func endings() []finished {
	e := finished{Dataset: "tank/docker", Root: "/var/lib/docker", Stream: "overlayzfs-sent-20260824T101500.000Z"}
	gone, goes, done, dry := e, e, e, e
	gone.Gone, goes.Gone, goes.DryRun, done.Images, dry.DryRun = true, true, true, 8, true
	return []finished{gone, goes, done, dry}
}

// TestTheRemedyFindsTheSameHost and asks nothing: it is to be copied.
func TestTheRemedyFindsTheSameHost(t *testing.T) {
	f := receiveFlags{discard: true}
	f.config, f.wanted.Config = "/etc/docker/daemon.json", "/srv/daemon.json"
	got := f.finishCommand(host.Location{Dataset: "tank/docker", Root: "/srv/docker", Driver: "user/overlayzfs"})
	if want := `overlayzfs receive --finish --yes --dataset tank/docker --root "/srv/docker" --driver "user/overlayzfs" --config-file "/srv/daemon.json" --discard`; got != want {
		t.Errorf("it is %s", got)
	}
}

func TestHowStreamsAreAskedFor(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"send", "--json", "--dataset", "tank/a"}, "--output"},
		{[]string{"send"}, "--dataset"},
		{[]string{"receive", "--dataset", "tank/a"}, "--yes"},
		{[]string{"receive", "--dataset", "tank/a", "--input", "x", "--json"}, "--yes"},
		{[]string{"receive", "--yes"}, "--dataset"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, testConsole(t, &out)); code != exitUsage || !bytes.Contains(out.Bytes(), []byte(tt.says)) {
			t.Errorf("%q exits with %d and says %s", tt.args, code, &out)
		}
	}
}

// TestAFileIsThereWhenItIsWhole and nothing is there before, nor is anything
// overwritten.
func TestAFileIsThereWhenItIsWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "stream")
	f := sendFlags{file: name}
	for _, whole := range []bool{false, true} {
		p, err := f.target(console{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(name); err == nil {
			t.Error("it is there before it is whole")
		}
		end := p.drop
		if whole {
			end = func() error { return errors.Join(p.keep(), p.deliver()) }
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || whole != (len(entries) == 1) {
			t.Errorf("%v, %v", entries, err)
		}
	}
	if err := f.requireFree(); !errors.Is(err, fault.Exists) {
		t.Errorf("of one that is there: %v", err)
	}
}

// TestAWholeStreamIsNotThrownAway because its name cannot be given: it says where
// it is.
func TestAWholeStreamIsNotThrownAway(t *testing.T) {
	name := filepath.Join(t.TempDir(), "stream")
	f := sendFlags{file: name}
	p, err := f.target(console{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("somebody's"), 0o600); err != nil { // meanwhile
		t.Fatal(err)
	}
	if err := errors.Join(p.keep(), p.deliver()); err == nil || !strings.Contains(err.Error(), p.file.Name()) {
		t.Errorf("it says %v", err)
	}
	for path, want := range map[string]string{name: "somebody's", p.file.Name(): "x"} {
		if raw, err := os.ReadFile(path); string(raw) != want || err != nil {
			t.Errorf("%s holds %q, %v", path, raw, err)
		}
	}
}

// TestAClosedTerminalEndsACommand with its cleaning up, but not one of nohup.
func TestAClosedTerminalEndsACommand(t *testing.T) {
	if !signal.Ignored(unix.SIGHUP) && !slices.Contains(ending(), os.Signal(unix.SIGHUP)) {
		t.Error("SIGHUP kills it")
	}
	signal.Ignore(unix.SIGHUP)
	defer signal.Reset(unix.SIGHUP)
	if slices.Contains(ending(), os.Signal(unix.SIGHUP)) {
		t.Error("SIGHUP is not ignored")
	}
}
