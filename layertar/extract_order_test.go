package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

// TestWorkersKeepTheOrder extracts tars that repeat a few names, once with workers and
// once with a wait after each entry. Both give the same result.
func TestWorkersKeepTheOrder(t *testing.T) {
	compareOrders(t, Options{}, 0)
	compareOrders(t, Options{Base: true}, 6) // where marks need no privileges
}

// compareOrders has as many of the names in 20 be marks of deletions.
func compareOrders(t *testing.T, o Options, marks int) {
	t.Helper()
	for seed := range uint64(400 / raceShare) {
		raw := tarOf(t, muddle(rand.New(rand.NewPCG(seed, 1)), marks)...)
		parallel, serial := extracted(t, raw, o, false), extracted(t, raw, o, true)
		if parallel != serial {
			t.Errorf("seed %d: in parallel:\n%s\none by one:\n%s\nof\n%s", seed, parallel, serial, describe(t, raw))
		}
	}
}

// entries extracts all entries; with wait it waits after each one.
func entries(x *extractor, wait bool) error {
	for {
		hdr, err := x.tr.Next()
		if err == io.EOF {
			return errors.Join(x.waitPending(), x.setDirTimes())
		}
		if err == nil {
			err = x.extractEntry(hdr)
		}
		if err == nil && wait {
			err = x.waitPending()
		}
		if err != nil {
			return err
		}
	}
}

// extracted returns the content of an extraction, or "failed".
func extracted(t *testing.T, raw []byte, o Options, wait bool) string {
	t.Helper()
	dir, path := newDir(t)
	x, err := newExtractor(t.Context(), int(dir.Fd()), tar.NewReader(bytes.NewReader(raw)), o)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if err := entries(x, wait); err != nil {
		return "failed"
	}
	return describe(t, packTree(t, path))
}

func describe(t *testing.T, raw []byte) string {
	t.Helper()
	headers, bodies := readTar(t, raw)
	var b strings.Builder
	for _, h := range headers {
		body := bodies[h.Name]
		fmt.Fprintf(&b, "%c %s -> %s %o %d %.20q\n", h.Typeflag, h.Name, h.Linkname, h.Mode, len(body), body)
	}
	return b.String()
}

// muddle returns the entries of a random tar with few names.
func muddle(r *rand.Rand, marks int) []entry {
	deep, wide := 3, 4
	if marks > 0 { // which concern others only of the same name
		deep, wide = 2, 2
	}
	name := func() string {
		parts := make([]string, 1+r.IntN(deep))
		for i := range parts {
			parts[i] = string(rune('a' + r.IntN(wide)))
		}
		return strings.Join(parts, "/")
	}
	entries := make([]entry, 2+r.IntN(14))
	for i := range entries {
		switch n := r.IntN(20); {
		case n < marks/2:
			entries[i] = aFile(name()+"/.wh..wh..opq", "")
		case n < marks:
			entries[i] = aFile(path.Dir(name())+"/.wh."+path.Base(name()), "")
		case n < 10:
			entries[i] = aFile(name(), fmt.Sprint("content ", i))
		case n < 11:
			entries[i] = aFile(name(), strings.Repeat(fmt.Sprint("large ", i), chunkSize/4))
		case n < 15:
			entries[i] = aDir(name())
		case n < 18:
			entries[i] = aSymlink(name(), name())
		default:
			entries[i] = aHardLink(name(), name())
		}
	}
	return entries
}
