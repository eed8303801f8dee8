package volumes

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSort(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"a/_data", "b/_data", "empty"} {
		if err := os.MkdirAll(filepath.Join(root, "volumes", dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "volumes/metadata.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(root, "volumes/link")); err != nil {
		t.Fatal(err)
	}
	v, err := Sort(root, func(string) bool { return false })
	if err != nil || len(v.Back) > 0 || len(v.Stay) != 4 || v.Stay[0] != "a" || v.Stay[3] != "link" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := Sort(t.TempDir(), nil); err != nil || len(v.Back)+len(v.Stay) > 0 {
		t.Errorf("without volumes: %+v, %v", v, err)
	}
}
