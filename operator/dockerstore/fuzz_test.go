package dockerstore

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
)

// The decoders of what Docker writes: whatever is in a file, they return, and
// what they accept is well-formed.

func FuzzImage(f *testing.F) {
	f.Add([]byte(`{"created":"2026-08-24T10:15:00Z","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`))
	f.Add([]byte(`{"rootfs":{"type":"layers+base"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		image, err := decodeImage(raw)
		for _, c := range image.Chains {
			if c.Validate() != nil || err != nil {
				t.Errorf("%s, %v", c, err)
			}
		}
	})
}

func FuzzTags(f *testing.F) {
	f.Add([]byte(`{"Repositories":{"x":{"x:latest":"sha256:` + strings.Repeat("0", 64) + `"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tags, _ := decodeTags(raw)
		for id, names := range tags {
			if id.Validate() != nil || strings.ContainsAny(strings.Join(names, ""), "\x1b\n") {
				t.Error(id, names)
			}
		}
	})
}

func FuzzContainer(f *testing.F) {
	f.Add([]byte(`{"State":{"Running":true},"ID":"a","Name":"/web","Driver":"overlayzfs","Image":"sha256:` + strings.Repeat("0", 64) + `"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, driver, err := decodeContainer(raw)
		if err == nil && (!layerID.MatchString(c.ID) || strings.ContainsAny(c.Name, "\x1b\n/") || driver == "" || c.Image != "" && c.Image.Validate() != nil) {
			t.Errorf("%+v of %q", c, driver)
		}
	})
}

func FuzzPlugin(f *testing.F) {
	f.Add([]byte(`{"plugin":{"Id":"a","Name":"x:latest","Settings":{"Env":["A=b"]},"Config":{"Interface":{"Types":["docker.graphdriver/1.0"]}}}}`))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		p, _, _ := decodePlugin(raw)
		p.Setting("A")
		p.HasName("x")
	})
}

func FuzzTarSplit(f *testing.F) {
	z, err := gzip.NewReader(bytes.NewReader(split(f, makeTar(f))))
	if err != nil {
		f.Fatal(err)
	}
	record, err := io.ReadAll(z)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add([]byte(`{"type":3,"name":"x"}`))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		_ = writeTar("record", bytes.NewReader(raw), io.Discard, func(string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("content")), nil
		})
	})
}
