package main

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
)

// TestWriteStreams compares what send and receive print.
func TestWriteStreams(t *testing.T) {
	full := transfer.Header{
		Name: "overlayzfs-sent-20260824T101500.000Z", GUID: 7, Time: time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC), Bytes: 3 << 30,
		Images: 8, Layers: 31, Format: 1, OpenZFS: "2.3.9-1",
	}
	more := full
	more.From, more.FromGUID, more.Bytes = "overlayzfs-sent-20260823T101500.000Z", 5, 5<<20
	misfit := receiveReport{Header: more, Dataset: "tank/docker", Root: "/var/lib/docker", Lost: []string{`image 0123456789ab ["mine:1"]`},
		Refused: transfer.Target{Dataset: "tank/docker"}.FindMisfits(more, false)}
	for name, show := range map[string]func(*bytes.Buffer) error{
		"receive.txt": func(out *bytes.Buffer) error {
			return writeArrival(out, receiveReport{Header: full, Dataset: "tank/docker", Root: "/var/lib/docker"})
		},
		"receive.json":     func(out *bytes.Buffer) error { return writeJSON(out, misfit) },
		"receive-lost.txt": func(out *bytes.Buffer) error { return writeArrival(out, misfit) },
		"send.txt": func(out *bytes.Buffer) error {
			return (&sendFlags{}).report(console{err: out}, sendReport{Header: full, Dataset: "tank/docker", Written: 3 << 30})
		},
		"send.json": func(out *bytes.Buffer) error {
			return (&sendFlags{output: output{json: true}}).report(console{out: out}, sendReport{Header: more, Dataset: "tank/docker", Written: 5 << 20})
		},
		"receive-finish.txt": func(out *bytes.Buffer) (err error) {
			for _, e := range finishReports() {
				err = errors.Join(err, (&receiveFlags{}).reportFinish(console{out: out}, e, host.Location{Dataset: "tank/docker", Driver: "overlayzfs"}))
			}
			return err
		},
		"receive-finish.json": func(out *bytes.Buffer) (err error) {
			for _, e := range finishReports() {
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

// finishReports are the results of receive --finish. A dry run with something to finish
// prints no further text.
func finishReports() []finishReport {
	e := finishReport{Dataset: "tank/docker", Root: "/var/lib/docker", Stream: "overlayzfs-sent-20260824T101500.000Z"}
	gone, goes, done, dry := e, e, e, e
	gone.Gone, goes.Gone, goes.DryRun, done.Images, dry.DryRun = true, true, true, 8, true
	return []finishReport{gone, goes, done, dry}
}

// writeStream writes the beginning of a stream.
func writeStream(t *testing.T, file string, version uint32, header any) {
	t.Helper()
	var out bytes.Buffer
	_, err := frame.NewWriter(&out, version, header)
	if err := errors.Join(err, os.WriteFile(file, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestFinishCommand can be copied: it names the same store and asks nothing.
func TestFinishCommand(t *testing.T) {
	f := receiveFlags{storeFlags: &storeFlags{}, discard: true}
	f.config, f.wanted.Config = "/etc/docker/daemon.json", "/srv/daemon.json"
	got := f.finishCommand(host.Location{Dataset: "tank/docker", Root: "/srv/docker", Driver: "user/overlayzfs"})
	if want := `overlayzfs receive --finish --yes --dataset tank/docker --root "/srv/docker" --driver "user/overlayzfs" --config-file "/srv/daemon.json" --discard`; got != want {
		t.Errorf("it is %s", got)
	}
}

func TestStreamUsage(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	writeStream(t, store, frame.Dataset, transfer.Header{})
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"send", "--json", "--dataset", "tank/a"}, "--output"},
		{[]string{"send"}, "--dataset"},
		{[]string{"receive", "--dataset", "tank/a"}, "--yes"},
		{[]string{"receive", "--dataset", "tank/a", "--input", "x", "--json"}, "--yes"},
		{[]string{"receive", "--yes", "--input", store}, "--dataset"},
		{[]string{"receive", "--yes", "--input", store, "--address", "x"}, "--address is for a stream of containerd's images"},
		{[]string{"receive", "--yes", "--finish", "--address", "x"}, "--address means nothing with --finish"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, testConsole(t, &out)); code != exitUsage || !bytes.Contains(out.Bytes(), []byte(tt.says)) {
			t.Errorf("%q exits with %d and says %s", tt.args, code, &out)
		}
	}
}

// TestEndSignals: a hang-up ends a command, unless nohup started it.
func TestEndSignals(t *testing.T) {
	if !signal.Ignored(unix.SIGHUP) && !slices.Contains(endSignals(), os.Signal(unix.SIGHUP)) {
		t.Error("SIGHUP kills it")
	}
	signal.Ignore(unix.SIGHUP)
	defer signal.Reset(unix.SIGHUP)
	if slices.Contains(endSignals(), os.Signal(unix.SIGHUP)) {
		t.Error("SIGHUP is not ignored")
	}
}
