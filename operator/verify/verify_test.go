package verify

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// tarRecord is a layer's tar as Docker would record it: the content of files is
// asked for.
type tarRecord []*tar.Header

const content = "content of a file"

func (r tarRecord) WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error {
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

// ReadEntries reads the headers of the tar, as a record has them.
func (r tarRecord) ReadEntries(yield func(dockerstore.TarEntry) error) error {
	var whole bytes.Buffer
	if err := r.WriteTar(&whole, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }); err != nil {
		return err
	}
	t := tar.NewReader(&whole)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		sum := dockerstore.NewChecksum()
		if _, err := io.Copy(sum, t); err != nil {
			return err
		}
		if err := yield(dockerstore.TarEntry{Header: h, Size: h.Size, Checksum: sum.Sum64()}); err != nil {
			return err
		}
	}
}

func header(name string, typ byte, mode int64) *tar.Header {
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

func deletion(name string) *tar.Header {
	h := header(name, tar.TypeReg, 0)
	h.Size = 0
	return h
}

// makeLayer returns a layer with a file that is named through a symlink, a second name of one with
// another mode, an empty file, directories that the tar leaves out, a deletion,
// and a user's attribute.
func makeLayer() tarRecord {
	empty, noted := header("empty", tar.TypeReg, 0o4755), header("noted", tar.TypeReg, 0o644)
	empty.Size = 0
	noted.PAXRecords = map[string]string{"SCHILY.xattr.user.by%3Dwhom": "me"}
	return tarRecord{
		header("./", tar.TypeDir, 0o755), header("usr/lib/", tar.TypeDir, 0o750), header("lib", tar.TypeSymlink, 0o777),
		header("usr/lib/file", tar.TypeReg, 0o600), header("lib/other", tar.TypeReg, 0o644), header("usr/hard", tar.TypeLink, 0o640), empty,
		header("usr/left/out", tar.TypeFifo, 0o644), deletion("usr/.wh.gone"), noted, header("twin", tar.TypeReg, 0o644),
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
		write("usr/lib/file", content, 0o640), write("usr/lib/other", content, 0o644), os.Link(at("usr/lib/file"), at("usr/hard")),
		write("empty", "", os.ModeSetuid|0o755), os.Mkdir(at("usr/left"), 0o755), unix.Mkfifo(at("usr/left/out"), 0o644),
		unix.Mknod(at("usr/gone"), overlayfs.WhiteoutMode, overlayfs.WhiteoutNum), write("noted", content, 0o644),
		unix.Setxattr(at("noted"), "user.by=whom", []byte("me"), 0), write("twin", content, 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compare compares a base layer.
func compare(ctx context.Context, t *testing.T, r tarRecord, dir string) error {
	t.Helper()
	return compareOn(ctx, t, r, dir)
}

// compareOn compares a layer on others, nearest first.
func compareOn(ctx context.Context, t *testing.T, r tarRecord, dir string, below ...string) error {
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
	layer := treestack.Layer{Dir: f}
	if len(below) > 0 {
		layer.OpenBelow = func() ([]*os.File, error) { return openAll(below) }
	}
	read := 0
	c := comparison{ctx, layer, func(n int) { read += n }}
	proof, err := c.run(r, digest.FromBytes(whole.Bytes()))
	if err == nil && (read != whole.Len() || proof != ByDigest) {
		t.Errorf("%d of %d bytes were read, the proof is %q", read, whole.Len(), proof)
	}
	return err
}

func openAll(names []string) (dirs []*os.File, err error) {
	for _, name := range names {
		dir, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// baseDir returns a layer below that has what the layer of makeLayer deletes.
func baseDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"usr/gone", "usr/left", "x/y", "put", "a", "hides"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "shows"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestALayerAsItWasRecorded(t *testing.T) {
	if err := compare(t.Context(), t, makeLayer(), unpacked(t)); err != nil {
		t.Error(err)
	}
}

// TestEveryChangeIsFound changes one thing after another.
func TestEveryChangeIsFound(t *testing.T) {
	write := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	instead := func(make func(string) error) func(string) error {
		return func(path string) error { return errors.Join(os.Remove(path), make(path)) }
	}
	mkdir := func(path string) error { return os.Mkdir(path, 0o755) }
	mode := func(m os.FileMode) func(string) error {
		return func(path string) error { return os.Chmod(path, m) }
	}
	symlink := func(target string) func(string) error {
		return func(path string) error { return os.Symlink(target, path) }
	}
	to := func(path, target string) string { return filepath.Join(filepath.Dir(path), target) }
	for name, tt := range map[string]struct {
		at     string
		change func(path string) error
		says   string
	}{
		"content":               {"usr/lib/file", write(strings.ToUpper(content)), `"usr/lib/file": has other content than recorded`},
		"a file":                {"usr/lib/file", os.Remove, `"usr/lib/file": is missing`},
		"an empty file":         {"empty", os.Remove, `"empty": is missing`},
		"a hard link":           {"usr/hard", os.Remove, `"usr/hard": is missing`},
		"a mode":                {"empty", mode(0o755), "mode 0755, recorded 04755"},
		"a directory's mode":    {"usr/lib", mode(0o755), "mode 0755, recorded 0750"},
		"a link's mode":         {"usr/lib/file", mode(0o600), "mode 0600, recorded 0640"},
		"more":                  {"usr/extra", write(""), `"usr/extra" exists, but not in the tar`},
		"a type":                {"empty", instead(mkdir), "of type"},
		"an escape":             {"lib", instead(symlink("../..")), `"lib/other": is missing`},
		"no hard link":          {"usr/hard", instead(write(content)), `is not a hard link to "usr/lib/file"`},
		"a link's target":       {"lib", instead(symlink("/usr/lib")), `points to "/usr/lib", recorded "usr/lib"`},
		"an empty file's bytes": {"empty", write("x"), "has 1 bytes, recorded 0"},
		"an undeleted name":     {"usr/gone", instead(mkdir), "is not opaque, so the directory below shows"},
		"a file undeleted":      {"usr/gone", instead(write("")), "is not a whiteout"},
		"a deletion":            {"usr/gone", os.Remove, `the deletion of "usr/gone" is missing`},
		"an empty directory":    {"usr/more", mkdir, `"usr/more" exists, but not in the tar`},
		"directories":           {"usr/lib/a", func(path string) error { return os.MkdirAll(path+"/b", 0o755) }, "exists, but not in the tar"},
		"another hard link":     {"usr/more", func(path string) error { return os.Link(to(path, "hard"), path) }, `"usr/more" exists`},
		"one file for two": {"twin", instead(func(path string) error {
			return os.Link(to(path, "usr/lib/other"), path)
		}), `is the same file as "lib/other"`},
		"an attribute":         {"noted", func(path string) error { return unix.Removexattr(path, "user.by=whom") }, `has lost the attribute "user.by=whom"`},
		"an attribute's value": {"noted", func(path string) error { return unix.Setxattr(path, "user.by=whom", []byte("you"), 0) }, "another value"},
		"a fifo":               {"usr/left/out", instead(write("")), "of type"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := unpacked(t)
			if err := tt.change(filepath.Join(dir, tt.at)); err != nil {
				t.Fatal(err)
			}
			err := compareOn(t.Context(), t, makeLayer(), dir, baseDir(t))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%v", err)
			}
			want := Changed
			if strings.Contains(name, "attribute") {
				want = Unproven
			}
			if got := classify(err); got != want {
				t.Errorf("%s: %v", got, err)
			}
		})
	}
}

// TestADirectoryInADeletionsPlaceHides what the deletion hid.
func TestADirectoryInADeletionsPlaceHides(t *testing.T) {
	for name, layer := range map[string]tarRecord{
		"named":   {deletion(".wh.x"), header("x/", tar.TypeDir, 0o755)},
		"implied": {deletion(".wh.x"), header("x/y", tar.TypeDir, 0o755)},
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "x/y"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := compareOn(t.Context(), t, layer, dir, baseDir(t)); err == nil || !strings.Contains(err.Error(), "is not opaque") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestADevicesNumber is compared with the one that anybody may make.
func TestADevicesNumber(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o644, 0); err != nil {
		t.Fatal(err)
	}
	null := header("null", tar.TypeChar, 0o644)
	null.Devmajor, null.Devminor = 1, 3
	if err := compare(t.Context(), t, tarRecord{null}, dir); err == nil || !strings.Contains(err.Error(), "is device 0:0, recorded 1:3") {
		t.Errorf("%v", err)
	}
}

func TestItStopsWhenAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := compare(ctx, t, makeLayer(), unpacked(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestAFileThatTookADirectorysPlace: what was below is not looked for.
func TestAFileThatTookADirectorysPlace(t *testing.T) {
	e := newEntries()
	for _, h := range []*tar.Header{header("a/", tar.TypeDir, 0o755), header("a/b", tar.TypeReg, 0o644), header("a", tar.TypeReg, 0o644), header("pax", tar.TypeXGlobalHeader, 0)} {
		e.addEntry(h, checksum{})
	}
	if all := e.sortedEntries(); len(all) != 1 || all[0].header.Typeflag != tar.TypeReg {
		t.Errorf("%v", e.sortedEntries())
	}
}

// TestNamesThatTakeTurns: what was below a directory goes with it, time after
// time, without a look at all other names.
func TestNamesThatTakeTurns(t *testing.T) {
	const others, turns = 30000, 30000
	e := newEntries()
	for i := range others {
		e.addEntry(header(fmt.Sprintf("other/%d", i), tar.TypeReg, 0o644), checksum{})
	}
	for range turns {
		for _, h := range []*tar.Header{header("a/", tar.TypeDir, 0o755), header("a/b", tar.TypeReg, 0o644), header("a", tar.TypeReg, 0o644)} {
			e.addEntry(h, checksum{})
		}
	}
	all := e.sortedEntries()
	if last := all[len(all)-1]; len(all) != others+1 || last.name != "a" || e.findEntry("a/b") != nil {
		t.Errorf("%d entries, the last is %q", len(all), last.name)
	}
}

// TestATarThatDoesNotParseIsUnproven: it has a name that no layer keeps.
func TestATarThatDoesNotParseIsUnproven(t *testing.T) {
	for _, h := range []*tar.Header{header(strings.Repeat("x/", maxName), tar.TypeDir, 0o755), header("a/.wh...", tar.TypeReg, 0o644)} {
		if err := compare(t.Context(), t, tarRecord{h}, t.TempDir()); classify(err) != Unproven {
			t.Errorf("%v", err)
		}
	}
}
