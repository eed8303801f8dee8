package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/operator/backup"
)

func aBackup() backup.Header {
	return backup.Header{
		Version: 1, Name: "overlayzfs-manual-20260824T101500Z-1", Time: time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC), Layers: "layers", OpenZFS: "2.3.9",
		Datasets: []backup.Dataset{
			{Path: "", GUID: 1, Bytes: 1 << 20, Mountpoint: "/var/lib/docker"},
			{Path: "layers", GUID: 2, From: "overlayzfs-manual-20260823T101500Z-1", FromGUID: 3, Bytes: 5 << 30, Mountpoint: "legacy"},
			{Path: "volumes", GUID: 4, Have: true, Mountpoint: "/var/lib/docker/volumes"},
		},
	}
}

// TestReportBackup shows a plan and a backup that was sent.
func TestReportBackup(t *testing.T) {
	for kind, f := range map[string]backupFlags{"txt": {}, "json": {output: output{json: true}}} {
		var out bytes.Buffer
		for _, r := range []backupReport{{Header: aBackup(), DryRun: true}, {Header: aBackup(), Written: 5 << 30}} {
			if err := f.report(console{out: &out, err: &out}, r); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, "backup."+kind, out.String())
	}
}

// TestReportRestore shows a backup that fits, one that does not, and what is mounted.
func TestReportRestore(t *testing.T) {
	for kind, f := range map[string]restoreFlags{"txt": {}, "json": {output: output{json: true}}} {
		var out bytes.Buffer
		for _, refused := range [][]string{{}, {"dataset tank/docker exists: name a dataset that does not exist"}} {
			if err := f.show(console{out: &out}, restoreReport{Header: aBackup(), Dataset: "tank/docker", Refused: refused}); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, "restore."+kind, out.String())
	}
	var out bytes.Buffer
	for _, plan := range []backup.MountPlan{
		{Steps: []backup.MountStep{{Dataset: "tank/docker", Mountpoint: "/var/lib/docker"}, {Dataset: "tank/docker/layers", Mountpoint: "legacy"}}},
		{Refused: []string{"/var/lib/docker is not empty: move its content away, or choose another directory with --root"}}, {},
	} {
		if err := writeMountPlan(&out, plan); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "restore-mount.txt", out.String())
}

// TestRestoreNeedsAnAnswer, which cannot come from where the stream does.
func TestRestoreNeedsAnAnswer(t *testing.T) {
	for args, want := range map[string]string{
		"restore tank/docker": "--yes or --input", "restore tank": "is a pool", "restore tank/docker@x": "names a snapshot", "restore tank/docker --input x --json": "cannot prompt with --json",
	} {
		var out bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), testConsole(t, &out)); code != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%s exits with %d and says %s", args, code, &out)
		}
	}
	if exitCode(errors.Join(backup.ErrRefused)) != exitRefused {
		t.Error("a refused restore has another exit code")
	}
}
