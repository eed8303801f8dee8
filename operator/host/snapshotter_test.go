package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSnapshotterDataset(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshotter.toml")
	if got, err := SnapshotterDataset(file); got != "" || err != nil {
		t.Errorf("without a file: %q, %v", got, err)
	}
	for content, want := range map[string]string{
		"version = 1\nnew = true\n[store]\ndataset = \"tank/layers\"\nquota = \"auto\"\n": "tank/layers",
		"[store]\ndataset = \"\"\n": "", "": "",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := SnapshotterDataset(file); got != want || err != nil {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if err := os.WriteFile(file, []byte("[store"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SnapshotterDataset(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("of a damaged file: %v", err)
	}
}
