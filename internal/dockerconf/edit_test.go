package dockerconf

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

var someChanges = []Change{
	{[]string{"experimental"}, true},
	{[]string{"storage-driver"}, "overlayzfs"},
	{[]string{"storage-opts"}, []string{"overlayzfs.dataset=tank/a", "overlayzfs.size=10G"}},
	{[]string{"features", "containerd-snapshotter"}, nil},
	{[]string{"features", "buildkit"}, true},
}

// TestEditKeepsTheRest: what is not changed stays byte for byte.
func TestEditKeepsTheRest(t *testing.T) {
	for before, after := range map[string]string{
		"": `{
  "experimental": true,
  "storage-driver": "overlayzfs",
  "storage-opts": ["overlayzfs.dataset=tank/a", "overlayzfs.size=10G"],
  "features": {
    "buildkit": true
  }
}
`,
		"{\n\t\"zz-unknown\": {\"b\":  1, \"a\": [2,3]},\n\t\"storage-driver\":\"overlay2\",\n\t\"features\": {\"containerd-snapshotter\": true},\n\t\"log-level\": \"warn\"\n}\n": "{\n\t\"zz-unknown\": {\"b\":  1, \"a\": [2,3]},\n\t\"storage-driver\":\"overlayzfs\",\n\t\"features\": {\n    \"buildkit\": true\n  },\n\t\"log-level\": \"warn\",\n\t\"experimental\": true,\n\t\"storage-opts\": [\"overlayzfs.dataset=tank/a\", \"overlayzfs.size=10G\"]\n}\n",
		`{"debug": true, "features": {"buildkit": false}}`: `{"debug": true, "features": {"buildkit": true}, "experimental": true, "storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.dataset=tank/a", "overlayzfs.size=10G"]}`,
	} {
		got, err := Edit([]byte(before), someChanges)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(after, string(got)); diff != "" {
			t.Errorf("- wanted, + got:\n%s", diff)
		}
		if again, err := Edit(got, someChanges); err != nil || string(again) != string(got) {
			t.Errorf("a second time it gives %s, %v", again, err)
		}
	}
}

func TestEditRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"{\n  \"a\": 1,\n}":            "line 3, column 1",
		"{\n  // why\n  \"a\": 1\n}":   "line 2",
		"[]":                           "cannot unmarshal array",
		`{"features": {"x": "yes"}}`:   "line 1",
		"{\"experimental\": \"maybe\"": "unexpected end",
	} {
		if _, err := Edit([]byte(text), someChanges); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Edit([]byte(`{"a": 1}`), []Change{{[]string{"a", "b"}, true}}); err == nil || !strings.Contains(err.Error(), "no object") {
		t.Error(err)
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	real, path := filepath.Join(dir, "real.json"), filepath.Join(dir, "daemon.json")
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
	left, err := filepath.Glob(filepath.Join(dir, ".daemon*"))
	if len(left) > 0 || err != nil {
		t.Errorf("%q, %v", left, err)
	}
}

func TestReplaceWhatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker", "daemon.json")
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

// FuzzEdit: what Edit takes it gives back with the changes, and with every other
// key as it was.
func FuzzEdit(f *testing.F) {
	for _, text := range []string{"", "{}", `{"a":{"b":[1]},"features":{"x":true}}`, "{\n \"a\" : 1 }", `{"features":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		edited, err := Edit(raw, someChanges)
		if err != nil {
			return
		}
		c, err := Decode(edited)
		if err != nil || c.StorageDriver != "overlayzfs" || !c.Experimental || len(c.StorageOpts) != 2 {
			t.Fatalf("%q became %q: %+v, %v", raw, edited, c, err)
		}
		var before, after map[string]json.RawMessage
		if err := json.Unmarshal(edited, &after); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(raw, &before) // nothing, if it was empty
		for key, value := range before {
			switch key {
			case "experimental", "storage-driver", "storage-opts", "features":
			default:
				if string(after[key]) != string(value) {
					t.Fatalf("%q became %q in %q", value, after[key], edited)
				}
			}
		}
	})
}
