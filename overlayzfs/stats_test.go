package overlayzfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCount(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for path, size := range map[string]int{
		filepath.Join(dir, "a"): 5000, filepath.Join(dir, "sub", "b"): 7, filepath.Join(outside, "secret"): 1 << 20,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "sub", "a")),
		os.Symlink(outside, filepath.Join(dir, "out")),
	); err != nil {
		t.Fatal(err)
	}
	got, err := countFiles(t.Context(), dir)
	// The root, a, sub, sub/b and the link: a counts once, and the link's target not.
	if err != nil || got.Inodes != 5 || got.Apparent != 5007 || got.Allocated < 5007 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCountStopsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := countFiles(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
