package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// entry is one entry of a tar made by a test.
type entry struct {
	tar.Header
	body string
}

// The makers of entries. They belong to whoever runs the test, so that an
// ordinary user can extract them.

func header(typ byte, name string, mode int64) tar.Header {
	return tar.Header{
		Typeflag: typ, Name: name, Mode: mode,
		Uid: os.Getuid(), Gid: os.Getgid(), ModTime: time.Unix(1_500_000_000, 0),
	}
}

func aFile(name, body string) entry {
	h := header(tar.TypeReg, name, 0o644)
	h.Size = int64(len(body))
	return entry{h, body}
}

func aDir(name string) entry { return entry{Header: header(tar.TypeDir, name, 0o755)} }

func aLink(typ byte, name, target string) entry {
	h := header(typ, name, 0o777)
	h.Linkname = target
	return entry{Header: h}
}

func aSymlink(name, target string) entry  { return aLink(tar.TypeSymlink, name, target) }
func aHardLink(name, target string) entry { return aLink(tar.TypeLink, name, target) }

// edit changes a copy of the entry.
func (e entry) edit(change func(*tar.Header)) entry {
	change(&e.Header)
	return e
}

// xattr adds a PAX record that sets an extended attribute.
func (e entry) xattr(name, value string) entry {
	return e.edit(func(h *tar.Header) {
		h.Format = tar.FormatPAX
		h.PAXRecords = map[string]string{paxXattr + name: value}
	})
}

// tarOf is a whole tar of the entries.
func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// readTar is a tar's headers in order, and the content of its files by name.
func readTar(t testing.TB, data []byte) ([]*tar.Header, map[string]string) {
	t.Helper()
	var headers []*tar.Header
	bodies := make(map[string]string)
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		bodies[h.Name] = string(body)
	}
}

func namesOf(headers []*tar.Header) []string {
	var names []string
	for _, h := range headers {
		names = append(names, h.Name)
	}
	return names
}

// newDir is an empty layer directory with nothing around it, and its path.
func newDir(t testing.TB) (*os.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layer")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := openDir(t, path)
	t.Cleanup(func() { // os.RemoveAll holds a descriptor for each level
		if err := fsat.RemoveContents(context.Background(), int(dir.Fd())); err != nil {
			t.Error(err)
		}
	})
	return dir, path
}

func openDir(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
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

// extract extracts what must be extractable, and returns the directory.
func extract(t testing.TB, entries ...entry) string {
	t.Helper()
	dir, path := newDir(t)
	size, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, entries...)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	expectSize(t, dir, size)
	return path
}

// expectSize checks what Extract said against what is there.
func expectSize(t testing.TB, dir *os.File, size int64) {
	t.Helper()
	if there, err := Size(t.Context(), dir); err != nil || there != size {
		t.Errorf("Extract said %d bytes, there are %d (%v)", size, there, err)
	}
}

func packTree(t testing.TB, path string) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Pack(t.Context(), openDir(t, path), &buf, Options{}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func expectContent(t testing.TB, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %.40q (%v), want %.40q", path, got, err, want)
	}
}
