package verify

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// block returns the header of a tar entry, changed in a way that package archive/tar does
// not write.
func block(t testing.TB, h *tar.Header, change func(b []byte)) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := tar.NewWriter(&out).WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	b := out.Bytes()
	change(b)
	setSum(b)
	return b
}

// setSum fills in a header's checksum.
func setSum(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func pad(content string) []byte {
	return append([]byte(content), make([]byte, -len(content)&511)...)
}

// pax returns a header of PAX with its records.
func pax(t testing.TB, records ...string) []byte {
	t.Helper()
	text := ""
	for _, r := range records {
		n := len(r) + 4 // "NN " and a newline
		text += fmt.Sprintf("%d %s\n", n, r)
	}
	h := &tar.Header{Name: "pax", Typeflag: tar.TypeReg, Size: int64(len(text)), Format: tar.FormatUSTAR}
	return append(block(t, h, func(b []byte) { b[156] = tar.TypeXHeader }), pad(text)...)
}

// The sparse file: "first", a hole, "last" at 4096, in all the forms that a tar has for it.
var sparse = "first" + strings.Repeat("\x00", 4091) + "last"

func gnuSparse(t testing.TB) []byte {
	h := &tar.Header{Name: "log", Typeflag: tar.TypeReg, Size: 9, Mode: 0o644, Uid: os.Getuid(), Gid: os.Getgid(), Format: tar.FormatGNU}
	head := block(t, h, func(b []byte) {
		b[156] = tar.TypeGNUSparse
		for i, n := range []int{0, 5, 4096, 4} {
			copy(b[386+12*i:], fmt.Sprintf("%011o", n))
		}
		copy(b[483:], fmt.Sprintf("%011o", len(sparse)))
	})
	return append(head, pad("firstlast")...)
}

func paxSparse(t testing.TB, size int, records ...string) []byte {
	h := &tar.Header{Name: "log", Typeflag: tar.TypeReg, Size: int64(size), Mode: 0o644, Uid: os.Getuid(), Gid: os.Getgid(), Format: tar.FormatUSTAR}
	return append(pax(t, records...), block(t, h, func([]byte) {})...)
}

// lossyTars are tars that Docker's record of them cannot give again.
func lossyTars(t testing.TB) map[string][]byte {
	realSize := fmt.Sprintf("GNU.sparse.realsize=%d", len(sparse))
	size := fmt.Sprintf("GNU.sparse.size=%d", len(sparse))
	return map[string][]byte{
		"old GNU": gnuSparse(t),
		"PAX 1.0": append(append(paxSparse(t, 521, "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=log", realSize),
			pad("2\n0\n5\n4096\n4\n")...), pad("firstlast")...),
		"PAX 0.1": append(paxSparse(t, 9, "GNU.sparse.name=log", size, "GNU.sparse.numblocks=2", "GNU.sparse.map=0,5,4096,4"), pad("firstlast")...),
	}
}

// TestSparseFilesAreComparedByChecksums, with the entry before and after them.
func TestSparseFilesAreComparedByChecksums(t *testing.T) {
	for name, entry := range lossyTars(t) {
		var before, after bytes.Buffer
		for file, out := range map[string]*bytes.Buffer{"one": &before, "two": &after} {
			w := tar.NewWriter(out)
			if err := w.WriteHeader(header(file, tar.TypeReg, 0o644)); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		whole := append(append(before.Bytes(), entry...), append(after.Bytes(), make([]byte, 1024)...)...)
		for spoil, want := range map[string]Status{"": OK, "log": Changed, "two": Changed} {
			k := newLayerOfTar(t, whole)
			for file, has := range map[string]string{"log": sparse, "one": content, "two": content} {
				k.write(k.home, "a/diff/"+file, has)
			}
			if spoil != "" {
				path := filepath.Join(k.home, "a/diff", spoil)
				raw, err := os.ReadFile(path)
				k.noError(err)
				raw[len(raw)-1]++
				k.noError(os.WriteFile(path, raw, 0o600))
			}
			r := k.verify()
			if r.Status != want || want == OK && r.Proof != ByChecksums || want == Changed && !strings.Contains(r.Reason, fmt.Sprintf("%q: has other content", spoil)) {
				t.Errorf("%s, %q spoilt: %+v", name, spoil, r)
			}
		}
	}
}

// TestASizeOnALinkProvesItself: the tar of the record has a size that no content follows.
func TestASizeOnALinkProvesItself(t *testing.T) {
	mine := tar.Header{Mode: 0o644, Uid: os.Getuid(), Gid: os.Getgid(), Format: tar.FormatUSTAR}
	var whole []byte
	for _, e := range []struct {
		name, target string
		typ          byte
	}{{"file", "", tar.TypeReg}, {"hard", "file", tar.TypeLink}, {"soft", "file", tar.TypeSymlink}, {"dir/", "", tar.TypeDir}} {
		h := mine
		h.Name, h.Linkname, h.Typeflag = e.name, e.target, e.typ
		if e.typ == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if e.typ == tar.TypeDir {
			h.Mode = 0o755
		}
		whole = append(whole, block(t, &h, func(b []byte) { copy(b[124:136], fmt.Sprintf("%011o\x00", len(content))) })...)
		if e.typ == tar.TypeReg {
			whole = append(whole, pad(content)...)
		}
	}
	for says, spoil := range map[string]func(k testLayer, at func(string) string){
		"": func(testLayer, func(string) string) {},
		`"hard": is not a hard link to "file"`: func(k testLayer, at func(string) string) {
			k.noError(os.Remove(at("hard")))
			k.write(k.home, "a/diff/hard", content)
		},
		`"soft": points to "other"`: func(k testLayer, at func(string) string) {
			k.noError(os.Remove(at("soft")))
			k.noError(os.Symlink("other", at("soft")))
		},
		`"file": has other content`: func(k testLayer, at func(string) string) {
			k.noError(os.WriteFile(at("file"), []byte(strings.ToUpper(content)), 0o600))
		},
	} {
		k := newLayerOfTar(t, append(whole, make([]byte, 1024)...))
		at := func(name string) string { return filepath.Join(k.home, "a/diff", name) }
		k.write(k.home, "a/diff/file", content)
		k.noError(os.Link(at("file"), at("hard")))
		k.noError(os.Symlink("file", at("soft")))
		k.noError(os.Mkdir(at("dir"), 0o755))
		spoil(k, at)
		if r := k.verify(); (r.Status == OK) != (says == "") || !strings.Contains(r.Reason, says) {
			t.Errorf("%q: %+v", says, r)
		}
	}
}

// TestGlobalHeadersAreNoFiles: `git archive` writes one at the start of a tar.
func TestGlobalHeadersAreNoFiles(t *testing.T) {
	file := func(name string) []byte {
		return append(block(t, header(name, tar.TypeReg, 0o644), func([]byte) {}), pad(content)...)
	}
	headers := 0
	global := func(records string) []byte {
		headers++ // no name twice in a record
		h := &tar.Header{Name: fmt.Sprint("pax_global_header", headers), Typeflag: tar.TypeReg, Size: int64(len(records)), Format: tar.FormatUSTAR}
		return append(block(t, h, func(b []byte) { b[156] = tar.TypeXGlobalHeader }), pad(records)...)
	}
	comment := "52 comment=" + strings.Repeat("c", 40) + "\n"
	full := "512 comment=" + strings.Repeat("c", 499) + "\n" // no padding
	for what, parts := range map[string][][]byte{
		"at the start":        {global(comment), file("one"), file("two")},
		"between":             {file("one"), global(comment), file("two")},
		"at the end":          {file("one"), file("two"), global(comment)},
		"several":             {global(full), global(comment), file("one"), global(comment), global(full), file("two")},
		"after a sparse file": {gnuSparse(t), global(comment), file("one"), file("two")},
	} {
		k := newLayerOfTar(t, append(bytes.Join(parts, nil), make([]byte, 1024)...))
		k.write(k.home, "a/diff/one", content)
		k.write(k.home, "a/diff/two", content)
		if strings.Contains(what, "sparse") {
			k.write(k.home, "a/diff/log", sparse)
		}
		if r := k.verify(); r.Status != OK {
			t.Errorf("%s: %+v", what, r)
		}
		k.write(k.home, "a/diff/two", strings.ToUpper(content))
		if r := k.verify(); r.Status != Changed {
			t.Errorf("%s, another content: %+v", what, r)
		}
	}
}

// TestContentOfMarksIsLost: no layer has what a tar writes into the mark of a deletion.
func TestContentOfMarksIsLost(t *testing.T) {
	for _, name := range []string{".wh.x", "a/.wh..wh.aufs"} {
		named := newEntries()
		if err := (tarRecord{header(name, tar.TypeReg, 0o644)}).ReadEntries(named.add); err != nil || named.lost == "" {
			t.Errorf("%s: %q, %v", name, named.lost, err)
		}
	}
}

// TestOwnersThatNoFileHas: a file gets the lower 32 bits of its tar's owner, and -1 changes
// nothing.
func TestOwnersThatNoFileHas(t *testing.T) {
	for _, tt := range []struct {
		got    uint32
		header int
		want   bool
	}{{7, 7, true}, {7, 8, false}, {7, 1<<32 + 7, true}, {0, -1, true}, {33, 1<<32 - 1, true}, {1<<32 - 2, -2, true}, {0, 1 << 32, true}, {1, 1 << 32, false}} {
		if isOwner(tt.got, tt.header) != tt.want {
			t.Errorf("%+v", tt)
		}
	}
}
