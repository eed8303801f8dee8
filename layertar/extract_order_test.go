package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestTheCrewKeepsTheOrder extracts tars that name the same few things again and
// again, once by the crew and once with a wait after each entry: both say the
// same and leave the same.
func TestTheCrewKeepsTheOrder(t *testing.T) {
	for seed := range uint64(400) {
		raw := tarOf(t, muddle(rand.New(rand.NewPCG(seed, 1)))...)
		crew, alone := extracted(t, raw, false), extracted(t, raw, true)
		if crew != alone {
			t.Errorf("seed %d: by the crew:\n%s\none by one:\n%s\nof\n%s", seed, crew, alone, describe(t, raw))
		}
	}
}

// entries extracts all entries, if wished with a wait after each.
func entries(x *extractor, wait bool) error {
	for {
		hdr, err := x.tr.Next()
		if err == io.EOF {
			return errors.Join(x.drain(), x.setDirTimes())
		}
		if err == nil {
			err = x.entry(hdr)
		}
		if err == nil && wait {
			err = x.drain()
		}
		if err != nil {
			return err
		}
	}
}

// extracted is what an extraction leaves, or "failed".
func extracted(t *testing.T, raw []byte, wait bool) string {
	t.Helper()
	dir, path := newDir(t)
	x, err := newExtractor(t.Context(), int(dir.Fd()), tar.NewReader(bytes.NewReader(raw)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if err := entries(x, wait); err != nil {
		return "failed"
	}
	return describe(t, packed(t, path))
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

// muddle is a tar of few names.
func muddle(r *rand.Rand) []entry {
	name := func() string {
		parts := make([]string, 1+r.IntN(3))
		for i := range parts {
			parts[i] = string(rune('a' + r.IntN(4)))
		}
		return strings.Join(parts, "/")
	}
	entries := make([]entry, 2+r.IntN(14))
	for i := range entries {
		switch n := r.IntN(20); {
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
