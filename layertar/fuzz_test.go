package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// How FuzzExtract extracts its tar.
const (
	fuzzSums  = 1 << iota // with right checksums, so that changed headers are read
	fuzzBase              // as a base layer
	fuzzBelow             // over a tree
	fuzzModes = 1 << iota
)

// FuzzExtract feeds whatever there is to Extract. It may fail, but must not
// panic, hang, or touch anything outside; and what it accepts, Pack can pack.
func FuzzExtract(f *testing.F) {
	for _, entries := range [][]entry{
		{aDir("./"), aFile("a/b", "x"), aSymlink("l", "/a"), aFile("l/c", "y"), aHardLink("h", "a/b")},
		{aSymlink("up", "../victim"), aFile("up/f", "x")},
		{aFile("../f", "x")}, {aHardLink("l", "../secret")}, {aFile("a/.wh.b", "")},
		{aFile("f", "x").xattr("user.a", "b")}, {entry{Header: header(tar.TypeFifo, "p", 0o600)}},
	} {
		for mode := range byte(fuzzModes) {
			f.Add(tarOf(f, entries...), mode)
		}
	}
	f.Add(rawPAX(aFile("GNUSparseFile.0/f", "1\n4096\n4\n"), map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": "1048576"}), byte(fuzzSums))
	around := f.TempDir()
	layer := filepath.Join(around, "layer")
	outside(f, layer)
	below := filepath.Join(around, "below")
	if err := errors.Join(os.MkdirAll(filepath.Join(below, "a/b"), 0o750), os.WriteFile(filepath.Join(below, "a/f"), []byte("below"), 0o600), os.Symlink("a/b", filepath.Join(below, "l"))); err != nil {
		f.Fatal(err)
	}
	before := listing(f, around, layer)
	f.Fuzz(func(t *testing.T, data []byte, mode byte) {
		if mode&fuzzSums != 0 {
			data = repairSums(data)
		}
		if claims(data) > 64<<20 {
			return // a sparse terabyte is right, only slow
		}
		if err := os.Mkdir(layer, 0o755); err != nil {
			t.Fatal(err)
		}
		o := Options{Base: mode&fuzzBase != 0}
		if mode&fuzzBelow != 0 && !o.Base {
			dir := openDir(t, below)
			o.Below = func() (*os.File, error) { return dir, nil }
		}
		fuzzExtract(t, layer, data, o)
		if err := os.RemoveAll(layer); err != nil {
			t.Fatal(err)
		}
		after := listing(t, around, layer)
		after[around] = before[around] // the layer comes and goes
		if !maps.Equal(before, after) {
			t.Errorf("outside of the layer there was %v, and is %v", before, after)
		}
	})
}

// fuzzExtract extracts data and packs what came of it.
func fuzzExtract(t *testing.T, layer string, data []byte, o Options) {
	dir, err := os.Open(layer)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	size, err := Extract(t.Context(), dir, bytes.NewReader(data), o)
	if err != nil {
		return
	}
	expectSize(t, dir, size)
	packTree(t, layer)
}

// claims is how large the files of a tar say they are.
func claims(data []byte) (sum int64) {
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil || sum > 1<<40 {
			return sum
		}
		sum += h.Size
	}
}
