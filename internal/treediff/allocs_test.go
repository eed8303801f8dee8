package treediff

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// flat is a directory of files.
func flat(t *testing.T, files int, content string) *os.File {
	t.Helper()
	dir := t.TempDir()
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%04d", i)), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestUpperIsProportionalToTheChanges: what is not changed costs nothing, however
// much of it there is.
func TestUpperIsProportionalToTheChanges(t *testing.T) {
	allocs := func(upper, parent *os.File) float64 {
		return testing.AllocsPerRun(3, func() {
			if _, err := Upper(t.Context(), upper, parent); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := flat(t, 100, "new"), flat(t, 600, "new")
	one, thousands := flat(t, 1, "old"), flat(t, 3000, "old")
	if got := (allocs(many, thousands) - allocs(few, thousands)) / 500; got > 4.5 {
		t.Errorf("%.2f allocations for each changed file, want at most 4.5", got)
	}
	if large, small := allocs(few, thousands), allocs(few, one); large > 1.2*small {
		t.Errorf("%v allocations above 3,000 files, %v above one", large, small)
	}
}
