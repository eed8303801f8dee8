package configfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	real, path := filepath.Join(dir, "real.json"), filepath.Join(dir, "config.json")
	if err := errors.Join(os.WriteFile(real, []byte("{}"), 0o640), os.Symlink("real.json", path)); err != nil {
		t.Fatal(err)
	}
	f, err := Load(path)
	if err != nil || f.Path != real || !f.Exists {
		t.Fatalf("%+v, %v", f, err)
	}
	backup := f.BackupName()
	if err := f.Replace([]byte(`{"debug": true}`), backup); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); string(raw) != `{"debug": true}` || err != nil {
		t.Errorf("%s, %v", raw, err)
	}
	if raw, err := os.ReadFile(backup); string(raw) != "{}" || err != nil {
		t.Errorf("%s, %v", raw, err)
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if err := f.Replace([]byte("{}"), f.BackupName()); !errors.Is(err, fault.Busy) {
		t.Errorf("it overwrites what was changed meanwhile: %v", err)
	}
	if f.BackupName() == backup {
		t.Error("a backup would be overwritten")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".real*"))
	if len(left) > 0 || err != nil {
		t.Errorf("%q, %v", left, err)
	}
}

func TestReplaceWhatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker", "config.json")
	f, err := Load(path)
	if err != nil || f.Exists {
		t.Fatalf("%+v, %v", f, err)
	}
	if err := f.Replace([]byte("{}"), f.BackupName()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); len(entries) != 1 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestReplaceWithoutABackup, and removal: nothing is left beside.
func TestReplaceWithoutABackup(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func() File {
		t.Helper()
		f, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	old := load()
	if err := errors.Join(old.CheckWritable(), old.Replace([]byte(`{"debug": true}`), "")); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); len(entries) != 1 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
	if err := old.Remove(); !errors.Is(err, fault.Busy) {
		t.Errorf("it removes what was changed meanwhile: %v", err)
	}
	if err := load().Remove(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); len(entries) > 0 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestWhereNoFileCanBeMade is known before; a directory is made.
func TestWhereNoFileCanBeMade(t *testing.T) {
	for path, can := range map[string]bool{"/proc/self/config.json": false, filepath.Join(t.TempDir(), "docker/config.json"): true} {
		f, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.CheckWritable(); (err == nil) != can {
			t.Errorf("%s: %v", path, err)
		}
	}
}
