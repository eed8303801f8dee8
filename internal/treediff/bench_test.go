package treediff

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkSameSizeAndTime compares 2,000 files of 20 KB with copies of the same size and time.
// "content" reads them, as Upper does; "size and time" is what moby's drivers compare.
func BenchmarkSameSizeAndTime(b *testing.B) {
	then := time.Unix(1_500_000_000, 0)
	trees := [2]*os.File{}
	for i := range trees {
		dir := b.TempDir()
		for n := range 2000 {
			path := filepath.Join(dir, "f"+time.Duration(n).String())
			if err := os.WriteFile(path, make([]byte, 20<<10), 0o600); err != nil {
				b.Fatal(err)
			}
			if err := os.Chtimes(path, then, then); err != nil {
				b.Fatal(err)
			}
		}
		f, err := os.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		trees[i] = f
	}
	for name, compare := range map[string]func() (Result, error){
		"content":       func() (Result, error) { return Upper(b.Context(), trees[0], trees[1]) },
		"size and time": func() (Result, error) { return Trees(b.Context(), trees[0], trees[1]) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if r, err := compare(); err != nil || len(r.Changes) > 0 {
					b.Fatalf("%d changes, %v", len(r.Changes), err)
				}
			}
		})
	}
}
