package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

func TestPackOrderAndForm(t *testing.T) {
	dir := extract(t, aFile("b/2", "x"), aFile("b/1", ""), aFile("b-", ""), aFile("a", ""), aSymlink("c", "b"), aHardLink("z", "b/2"))
	headers, bodies := readTar(t, packTree(t, dir))
	want := []string{"a", "b/", "b/1", "b/2", "b-", "c", "z"}
	if diff := cmp.Diff(want, namesOf(headers)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for _, h := range headers {
		if h.Uname != "" || h.Gname != "" || h.ModTime.Nanosecond() != 0 || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() {
			t.Errorf("%s says too much: %+v", h.Name, h)
		}
	}
	last := headers[len(headers)-1]
	if last.Typeflag != tar.TypeLink || last.Linkname != "b/2" || bodies["b/2"] != "x" {
		t.Errorf("the hard link is %+v", last)
	}
}

// Extract restores the output of Pack, and Pack writes it again byte for byte.
func TestRoundTrip(t *testing.T) {
	longest := strings.Repeat("n", 255)
	big := strings.Repeat("0123456789abcdef", 3<<16) + "tail"
	dir := extract(t,
		aDir("d").edit(func(h *tar.Header) { h.Mode = 0o1751 }),
		aFile("d/suid", "s").edit(func(h *tar.Header) { h.Mode = 0o6755 }), aFile("d/big", big),
		aFile("d/\xff\xfe", "not UTF-8"), aSymlink("d/\xfd", "target\xfc"), aHardLink("d/\xfb", "d/\xff\xfe"),
		aFile(longest+"/"+longest+"/"+longest, "long"), aSymlink("link", strings.Repeat("t", 4095)),
		entry{Header: header(tar.TypeFifo, "fifo", 0o600)},
		aFile("x", "x").xattr("user.%25%3D", "\x00=\n"), aDir("xd").xattr("user.empty", ""),
		aFile("sparse", "start"+strings.Repeat("\x00", 1<<20)+"end"), aHardLink("s2", "link"),
		aFile("old", "").edit(func(h *tar.Header) { h.ModTime = h.ModTime.AddDate(-60, 0, 0) }),
	)
	first := packTree(t, dir)
	again, path := newDir(t)
	size, err := Extract(t.Context(), again, bytes.NewReader(first), Options{})
	if err != nil {
		t.Fatal(err)
	}
	expectSize(t, again, size)
	if second := packTree(t, path); !bytes.Equal(first, second) {
		a, _ := readTar(t, first)
		b, _ := readTar(t, second)
		t.Errorf("the second tar differs (-first +second):\n%s", cmp.Diff(a, b))
	}
	expectContent(t, filepath.Join(path, "d/\xfb"), "not UTF-8")
	expectContent(t, filepath.Join(path, "d/big"), big)
	if st := lstat(t, filepath.Join(path, "d/suid")); st.Mode&0o7777 != 0o6755 {
		t.Errorf("the mode came back as %o", st.Mode)
	}
}

func TestPackSkipsSockets(t *testing.T) {
	dir := extract(t, aFile("f", ""))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	headers, _ := readTar(t, packTree(t, dir))
	if diff := cmp.Diff([]string{"f"}, namesOf(headers)); diff != "" {
		t.Error(diff)
	}
}

func TestPackRefusesNamesThatReadAsWhiteouts(t *testing.T) {
	for _, name := range []string{".wh.f", ".wh..wh..opq", "d/.wh.x"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		expectNoArchive(t, fault.Unsupported, func(w io.Writer) error {
			return Pack(t.Context(), openDir(t, dir), w, Options{})
		})
	}
}

// expectNoArchive checks that pack fails as it should, and that what it wrote
// cannot pass for a whole tar.
func expectNoArchive(t *testing.T, class fault.Class, pack func(io.Writer) error) {
	t.Helper()
	var buf bytes.Buffer
	err := pack(&buf)
	if err == nil || fault.ClassOf(err) != class {
		t.Errorf("class %q, %v; want %q", fault.ClassOf(err), err, class)
	}
	if bytes.HasSuffix(buf.Bytes(), make([]byte, 1024)) {
		t.Error("the tar was ended in spite of the error")
	}
}

func TestPackOfAFileThatChanges(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := fsat.OpenFile(int(openDir(t, dir).Fd()), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := fsat.Close(fd); err != nil {
			t.Error(err)
		}
	}()
	copyOf := func(size int64) func(w io.Writer) error {
		return func(w io.Writer) error {
			return runPack(t.Context(), w, Options{}, func(p *packer) error {
				if err := p.tw.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: size}); err != nil {
					return err
				}
				return p.copyContent(fd, size)
			})
		}
	}
	var grown bytes.Buffer
	if err := copyOf(1000)(&grown); err != nil {
		t.Errorf("a file that has grown: %v", err)
	}
	if _, bodies := readTar(t, grown.Bytes()); len(bodies["f"]) != 1000 {
		t.Errorf("%d bytes of a grown file were packed", len(bodies["f"]))
	}
	expectNoArchive(t, fault.Busy, copyOf(5001))
}

func TestPackOfWhatVanishes(t *testing.T) {
	dir := openDir(t, t.TempDir())
	var buf bytes.Buffer
	err := runPack(t.Context(), &buf, Options{}, func(p *packer) error {
		for _, typ := range []uint8{unix.DT_REG, unix.DT_LNK, unix.DT_UNKNOWN} {
			if err := p.packFile(int(dir.Fd()), "gone", "gone", typ); err != nil {
				return err
			}
		}
		return nil
	})
	if headers, _ := readTar(t, buf.Bytes()); err != nil || len(headers) != 0 {
		t.Errorf("%v, %v", headers, err)
	}
}

func TestPackPassesWriteErrorsOn(t *testing.T) {
	dir := extract(t, aFile("f", strings.Repeat("x", 1<<20)))
	lost := errors.New("connection lost")
	if err := Pack(t.Context(), openDir(t, dir), brokenWriter{lost}, Options{}); !errors.Is(err, lost) {
		t.Error(err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestPackStopsWithItsContext(t *testing.T) {
	dir := extract(t, aFile("f", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, pack := range []func(io.Writer) error{
		func(w io.Writer) error { return Pack(ctx, openDir(t, dir), w, Options{}) },
		func(w io.Writer) error { return PackEntries(ctx, openDir(t, dir), []Entry{{Path: "f"}}, w, Options{}) },
		func(w io.Writer) error { _, err := Size(ctx, openDir(t, dir)); return err },
	} {
		expectNoArchive(t, "", func(w io.Writer) error {
			err := pack(w)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			return err
		})
	}
}

func TestPackEntries(t *testing.T) {
	dir := extract(t, aFile("d/1", "one"), aFile("d/2", ""), aHardLink("h", "d/1"), aHardLink("i", "d/1"), aSymlink("s", "d"), aFile("unlisted", ""))
	var buf bytes.Buffer
	err := PackEntries(t.Context(), openDir(t, dir), []Entry{
		{Path: "s"}, {Path: "i"}, {Path: "h"}, {Path: "d"}, {Path: "gone"}, {Path: "d/gone/deeper"},
		{Path: "d/deleted", Deleted: true}, {Path: "b", Deleted: true},
	}, &buf, Options{})
	if err != nil {
		t.Fatal(err)
	}
	headers, bodies := readTar(t, buf.Bytes())
	want := []string{".wh.b", "d/", "d/.wh.deleted", "h", "i", "s"}
	if diff := cmp.Diff(want, namesOf(headers)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if bodies["h"] != "one" || headers[4].Typeflag != tar.TypeLink || headers[4].Linkname != "h" {
		t.Errorf("the links are %q and %+v", bodies["h"], headers[4])
	}
}

func TestPackEntriesRefuses(t *testing.T) {
	dir := openDir(t, extract(t, aFile("d/f", ""), aSymlink("s", "d")))
	for path, class := range map[string]fault.Class{
		"../x": fault.Invalid, "/x": fault.Invalid, "": fault.Invalid, ".": fault.Invalid, "a/": fault.Invalid,
		".wh.x": fault.Unsupported, ".wh.d/x": fault.Unsupported,
	} {
		for _, deleted := range []bool{false, true} {
			expectNoArchive(t, class, func(w io.Writer) error {
				return PackEntries(t.Context(), dir, []Entry{{Path: path, Deleted: deleted}}, w, Options{})
			})
		}
	}
	expectNoArchive(t, "", func(w io.Writer) error {
		return PackEntries(t.Context(), dir, []Entry{{Path: "s/f"}}, w, Options{})
	})
}

func TestPackMapsOwners(t *testing.T) {
	dir := openDir(t, extract(t, aFile("f", "")))
	ids := user.IdentityMapping{
		UIDMaps: []user.IDMap{{ID: 7, ParentID: int64(os.Getuid()), Count: 1}},
		GIDMaps: []user.IDMap{{ID: 8, ParentID: int64(os.Getgid()), Count: 1}},
	}
	var buf bytes.Buffer
	if err := Pack(t.Context(), dir, &buf, Options{IDs: ids}); err != nil {
		t.Fatal(err)
	}
	headers, _ := readTar(t, buf.Bytes())
	if headers[0].Uid != 7 || headers[0].Gid != 8 {
		t.Errorf("the owner is %d:%d", headers[0].Uid, headers[0].Gid)
	}
	again, path := newDir(t)
	if _, err := Extract(t.Context(), again, &buf, Options{IDs: ids}); err != nil {
		t.Fatal(err)
	}
	if st := lstat(t, filepath.Join(path, "f")); int(st.Uid) != os.Getuid() || int(st.Gid) != os.Getgid() {
		t.Errorf("the owner on disk is %d:%d", st.Uid, st.Gid)
	}
}

func TestUnmappedOwnersAreErrors(t *testing.T) {
	ids := user.IdentityMapping{
		UIDMaps: []user.IDMap{{ID: 0, ParentID: 1 << 20, Count: 10}},
		GIDMaps: []user.IDMap{{ID: 0, ParentID: 1 << 20, Count: 10}},
	}
	dir, _ := newDir(t)
	foreign := aFile("f", "").edit(func(h *tar.Header) { h.Uid = 10 })
	_, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, foreign)), Options{IDs: ids})
	if fault.ClassOf(err) != fault.UnsafeInput {
		t.Errorf("to the host: %v", err)
	}
	path := extract(t, aFile("f", ""))
	expectNoArchive(t, fault.Invalid, func(w io.Writer) error {
		return Pack(t.Context(), openDir(t, path), w, Options{IDs: ids})
	})
}

func TestSizeCountsHardLinksOnce(t *testing.T) {
	dir := extract(t, aFile("d/f", "12345"), aHardLink("g", "d/f"), aSymlink("s", "123"), aFile("h", "1"))
	if size, err := Size(t.Context(), openDir(t, dir)); err != nil || size != 9 {
		t.Errorf("%d bytes, %v", size, err)
	}
}

// TestPackOfWhatIsReplaced by another kind of file, after its directory was read.
func TestPackOfWhatIsReplaced(t *testing.T) {
	dir := extract(t, aFile("file", "content"), aDir("directory"), aSymlink("link", "file"))
	if err := unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	for name, typ := range map[string]uint8{"file": unix.DT_LNK, "directory": unix.DT_REG, "link": unix.DT_REG, "socket": unix.DT_REG} {
		expectNoArchive(t, fault.Busy, func(w io.Writer) error {
			return runPack(t.Context(), w, Options{}, func(p *packer) error {
				return p.packFile(int(openDir(t, dir).Fd()), name, name, typ)
			})
		})
	}
}
