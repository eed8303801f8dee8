package layertar

import (
	"archive/tar"
	"bytes"
	"testing"
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
		f.Add(tarOf(f, entries...))
	}
	f.Add(rawPAX(aFile("GNUSparseFile.0/f", "1\n4096\n4\n"), map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": "1048576"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if claims(data) > 64<<20 {
			return // a sparse terabyte is right, only slow
		}
		dir, path := newDir(t)
		unchanged := outside(t, path)
		size, err := Extract(t.Context(), dir, bytes.NewReader(data), Options{})
		unchanged()
		if err != nil {
			return
		}
		expectSize(t, dir, size)
		packTree(t, path)
	})
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
