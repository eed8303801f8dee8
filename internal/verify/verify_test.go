package verify

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// recorded is a layer's tar as Docker would record it: the content of files is
// asked for.
type recorded []*tar.Header

const content = "content of a file"

func (r recorded) WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error {
	t := tar.NewWriter(w)
	for _, header := range r {
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		if header.Size == 0 {
			continue
		}
		f, err := get(header.Name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(t, f); err != nil {
			return err
		}
		f.Close()
	}
	return t.Close()
}

func entry(name string, typ byte, mode int64) *tar.Header {
	h := &tar.Header{Name: name, Typeflag: typ, Mode: mode, Uid: os.Getuid(), Gid: os.Getgid(), Format: tar.FormatPAX}
	switch typ {
	case tar.TypeReg:
		h.Size = int64(len(content))
	case tar.TypeSymlink:
		h.Linkname = "usr/lib"
	case tar.TypeLink:
		h.Linkname = "usr/lib/file"
	}
	return h
}

// someLayer has a file that is named through a symlink, a second name of one, an
// empty file, and a directory that the tar leaves out.
func someLayer() recorded {
	empty := entry("empty", tar.TypeReg, 0o4755)
	empty.Size = 0
	return recorded{
		entry("./", tar.TypeDir, 0o755), entry("usr/lib/", tar.TypeDir, 0o750), entry("lib", tar.TypeSymlink, 0o777),
		entry("usr/lib/file", tar.TypeReg, 0o600), entry("lib/other", tar.TypeReg, 0o644), entry("usr/hard", tar.TypeLink, 0o600), empty,
	}
}

// unpacked is the layer on disk.
func unpacked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string, mode os.FileMode) error {
		return errors.Join(os.WriteFile(at(name), []byte(content), mode), os.Chmod(at(name), mode))
	}
	err := errors.Join(
		os.MkdirAll(at("usr/lib"), 0o755), os.Chmod(at("usr/lib"), 0o750), os.Symlink("usr/lib", at("lib")),
		write("usr/lib/file", content, 0o600), write("usr/lib/other", content, 0o644), os.Link(at("usr/lib/file"), at("usr/hard")),
		write("empty", "", os.ModeSetuid|0o755),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func compare(ctx context.Context, t *testing.T, r recorded, dir string) error {
	t.Helper()
	var whole bytes.Buffer
	if err := r.WriteTar(&whole, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := 0
	c := newComparison(ctx, f, true, func(n int) { read += n })
	defer c.close()
	err = c.run(r, digest.FromBytes(whole.Bytes()))
	if err == nil && read != whole.Len() {
		t.Errorf("%d of %d bytes were read", read, whole.Len())
	}
	return err
}

func TestALayerAsItWasRecorded(t *testing.T) {
	if err := compare(t.Context(), t, someLayer(), unpacked(t)); err != nil {
		t.Error(err)
	}
}

// TestEveryChangeIsFound changes one thing after another.
func TestEveryChangeIsFound(t *testing.T) {
	for word, change := range map[string]func(dir string) error{
		"digest": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "usr/lib/file"), []byte(strings.ToUpper(content)), 0o600)
		},
		`"usr/lib/file" is missing`:            func(dir string) error { return os.Remove(filepath.Join(dir, "usr/lib/file")) },
		`"empty": is missing`:                  func(dir string) error { return os.Remove(filepath.Join(dir, "empty")) },
		`"usr/hard": is missing`:               func(dir string) error { return os.Remove(filepath.Join(dir, "usr/hard")) },
		"mode 0755, recorded 04755":            func(dir string) error { return os.Chmod(filepath.Join(dir, "empty"), 0o755) },
		"mode 0755, recorded 0750":             func(dir string) error { return os.Chmod(filepath.Join(dir, "usr/lib"), 0o755) },
		`"usr/extra" is there, and the tar do`: func(dir string) error { return os.WriteFile(filepath.Join(dir, "usr/extra"), nil, 0o600) },
		"of type": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "empty")), os.Mkdir(filepath.Join(dir, "empty"), 0o755))
		},
		"escapes": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "lib")), os.Symlink("../..", filepath.Join(dir, "lib")))
		},
	} {
		t.Run(word, func(t *testing.T) {
			dir := unpacked(t)
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			err := compare(t.Context(), t, someLayer(), dir)
			if err == nil || !strings.Contains(err.Error(), word) && word != "escapes" {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestItStopsWhenAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := compare(ctx, t, someLayer(), unpacked(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestAFileThatTookADirectorysPlace: what was below is not looked for.
func TestAFileThatTookADirectorysPlace(t *testing.T) {
	e := newEntries()
	for _, h := range []*tar.Header{entry("a/", tar.TypeDir, 0o755), entry("a/b", tar.TypeReg, 0o644), entry("a", tar.TypeReg, 0o644), entry("pax", tar.TypeXGlobalHeader, 0)} {
		e.add(h)
	}
	if len(e.byPath) != 1 || e.byPath["a"].Typeflag != tar.TypeReg {
		t.Errorf("%v", e.byPath)
	}
}
