package layertar

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// perFile is how many allocations each file more costs: what a call costs by
// itself is not in it.
func perFile(do func(files int)) float64 {
	const few, many, runs = 100, 600, 2
	allocs := func(files int) float64 {
		do(files) // what is made once, and kept
		return testing.AllocsPerRun(runs, func() { do(files) })
	}
	return (allocs(many) - allocs(few)) / (many - few)
}

func manyFiles(n int) []entry {
	entries := []entry{aDir("d")}
	for i := range n {
		entries = append(entries, aFile(fmt.Sprintf("d/file-%04d", i), "content"))
	}
	return entries
}

// TestAllocations: what one file more may cost. A count that falls is to be
// written down here. The fractions are for the race detector, under which pools
// forget.
func TestAllocations(t *testing.T) {
	tars, trees := map[int][]byte{}, map[int]*os.File{}
	base, next := t.TempDir(), 0
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{100, 600} {
		tars[n] = tarOf(t, manyFiles(n)...)
		dir, _ := newDir(t)
		_, err := Extract(t.Context(), dir, bytes.NewReader(tars[n]), Options{})
		check(err)
		trees[n] = dir
	}
	for _, c := range []struct {
		what string
		most float64
		do   func(files int)
	}{
		{"Extract", 23.5, func(n int) {
			next++
			name := filepath.Join(base, fmt.Sprint(next))
			check(os.Mkdir(name, 0o755))
			dir, err := os.Open(name)
			check(err)
			_, err = Extract(t.Context(), dir, bytes.NewReader(tars[n]), Options{})
			check(err)
			check(dir.Close())
		}},
		{"Pack", 14.9, func(n int) { check(Pack(t.Context(), trees[n], io.Discard, Options{})) }},
		{"Size", 2.5, func(n int) {
			_, err := Size(t.Context(), trees[n])
			check(err)
		}},
	} {
		if got := perFile(c.do); got > c.most {
			t.Errorf("%s: %.2f allocations for each file, want at most %v", c.what, got, c.most)
		}
	}
}
