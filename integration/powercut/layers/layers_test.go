package layers

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestALayerIsMadeOfItsSeed(t *testing.T) {
	digests := make(map[string]bool)
	for seed := range uint64(20) {
		o := Options{Base: seed%2 == 0, Xattrs: seed%3 == 0}
		first, err := Tar(seed, o)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Tar(seed, o)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("seed %d gives two layers, %v", seed, err)
		}
		digest, err := Digest(first)
		if err != nil {
			t.Fatal(err)
		}
		digests[digest] = true
		if Empty(first) {
			t.Errorf("seed %d gives an empty layer", seed)
		}
	}
	if len(digests) != 20 {
		t.Errorf("20 seeds give %d digests", len(digests))
	}
}

// rewritten is a layer with every entry changed.
func rewritten(t *testing.T, layer []byte, change func(*tar.Header)) []byte {
	t.Helper()
	var b bytes.Buffer
	in, out := tar.NewReader(bytes.NewReader(layer)), tar.NewWriter(&b)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		change(header)
		header.Size, header.Format = min(header.Size, int64(len(content))), tar.FormatPAX
		if err := errors.Join(out.WriteHeader(header), second(out.Write(content[:header.Size]))); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func second(_ int, err error) error { return err }

func TestDigestSeesEveryChange(t *testing.T) {
	layer, err := Tar(3, Options{Xattrs: true})
	if err != nil {
		t.Fatal(err)
	}
	digest := func(change func(*tar.Header)) string {
		d, err := Digest(rewritten(t, layer, change))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	same := digest(func(h *tar.Header) { h.Uname, h.Name = "somebody", "./"+h.Name })
	if original, err := Digest(layer); err != nil || same != original {
		t.Errorf("spelling changes the digest: %s, %s, %v", original, same, err)
	}
	for name, change := range map[string]func(*tar.Header){
		"owner": func(h *tar.Header) { h.Uid++ },
		"mode":  func(h *tar.Header) { h.Mode ^= 0o100 },
		"cut":   func(h *tar.Header) { h.Size = max(h.Size-1, 0) },
		"xattr": func(h *tar.Header) {
			if h.Typeflag == tar.TypeReg {
				h.PAXRecords = map[string]string{"SCHILY.xattr.user.other": "1"}
			}
		},
		"name": func(h *tar.Header) {
			if h.Name == "of-this-layer" {
				h.Name = "of-another"
			}
		},
	} {
		if other := digest(change); other == same || OnlyTimes(other, same) {
			t.Errorf("%s: not seen", name)
		}
	}
	if other := digest(func(h *tar.Header) { h.ModTime = h.ModTime.Add(time.Second) }); other == same || !OnlyTimes(other, same) {
		t.Errorf("times: %s and %s", same, other)
	}
}

func TestRecords(t *testing.T) {
	const id = "0123456789abcdef"
	dir := t.TempDir()
	for n := 1; n <= 4; n++ {
		if err := WriteRecord(dir, id, n, n == 2); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		if got, err := Records(dir, id); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	expect("wwww")
	path := func(n int) string { return filepath.Join(recordDir(dir, id), strconv.Itoa(n)) }
	if err := errors.Join(os.Truncate(path(4), 3), os.Remove(path(2)), os.WriteFile(path(1), []byte("another"), 0o644)); err != nil {
		t.Fatal(err)
	}
	expect("x-ws")
	dir = t.TempDir()
	expect("")
}
