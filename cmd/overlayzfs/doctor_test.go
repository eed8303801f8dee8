package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/doctor"
)

// TestReadMigration finds an unfinished migration in each phase, but not while a command
// runs.
func TestReadMigration(t *testing.T) {
	root := t.TempDir()
	c := testConsole(t, &bytes.Buffer{})
	if m, err := readMigration(root, c); m != nil || err != nil {
		t.Errorf("there is none: %+v, %v", m, err)
	}
	if m, err := readMigration(filepath.Join(root, "none"), c); m != nil || err != nil {
		t.Errorf("without a data-root: %+v, %v", m, err)
	}
	journal := filepath.Join(root, "overlayzfs-migrate/journal.json")
	if err := os.Mkdir(filepath.Dir(journal), 0o700); err != nil {
		t.Fatal(err)
	}
	for phase, want := range map[string]doctor.Migration{
		"carrying":    {Undoable: true, Next: "overlayzfs migrate --from zfs --driver ours"},
		"switching":   {Undoable: true, Switching: true, Next: "overlayzfs migrate --from zfs --driver ours"},
		"configuring": {Undoable: true, Switching: true, Next: "overlayzfs migrate --from zfs --driver ours"},
		"done":        {Undoable: true, Done: true, Next: "overlayzfs migrate --finish"},
		"undoing":     {Switching: true, Next: "overlayzfs migrate --undo"},
		"finishing":   {Next: "overlayzfs migrate --finish"},
	} {
		raw := strings.ReplaceAll(`{"version": 2, "phase": "PHASE", "way": "copy", "from": "zfs", "to": "ours"}`, "PHASE", phase)
		if err := os.WriteFile(journal, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		want.From, want.To, want.Phase = "zfs", "ours", phase
		if m, err := readMigration(root, c); err != nil || *m != want {
			t.Errorf("%+v, %v; want %+v", m, err, want)
		}
	}
	if err := c.runLocked("migrate", func() error {
		m, err := readMigration(root, c)
		if m != nil {
			t.Errorf("it is under way: %+v", m)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(journal, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readMigration(root, c); err == nil || !strings.Contains(err.Error(), journal) {
		t.Errorf("of a damaged journal: %v", err)
	}
}

// TestDoctorFindsSnapshotterStore if Docker has no plugin, and only then.
func TestDoctorFindsSnapshotterStore(t *testing.T) {
	c := testConsole(t, &bytes.Buffer{})
	file := filepath.Join(t.TempDir(), "snapshotter.toml")
	if err := os.WriteFile(file, []byte("[store]\ndataset = \"tank/containerd\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for named, want := range map[string]string{"": "tank/containerd", "tank/docker": "tank/docker"} {
		f := doctorFlags{storeFlags: &storeFlags{dataset: named, config: c.config}}
		if s, err := f.locateAny(file); err != nil || s.Dataset != want {
			t.Errorf("%q: %+v, %v", named, s, err)
		}
	}
	f := doctorFlags{storeFlags: &storeFlags{config: c.config}}
	if _, err := f.locateAny(file + "x"); err == nil || !strings.Contains(err.Error(), "no store found") {
		t.Errorf("without any: %v", err)
	}
}
