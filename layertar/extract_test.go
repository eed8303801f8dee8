package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExtractOrdinaryTree(t *testing.T) {
	dir := extract(t,
		aDir("./"), aDir("etc/"), aFile("etc/hosts", "localhost"), aFile("/abs", "rooted"),
		aSymlink("etc/link", "../../../outside"), aHardLink("other", "/etc/hosts"),
		entry{Header: header(tar.TypeFifo, "fifo", 0o620)},
		aFile("implied/a/b", "x"), aFile("empty", ""),
	)
	expectContent(t, filepath.Join(dir, "etc/hosts"), "localhost")
	expectContent(t, filepath.Join(dir, "other"), "localhost")
	expectContent(t, filepath.Join(dir, "abs"), "rooted")
	expectContent(t, filepath.Join(dir, "implied/a/b"), "x")
	expectContent(t, filepath.Join(dir, "empty"), "")
	if target, err := os.Readlink(filepath.Join(dir, "etc/link")); err != nil || target != "../../../outside" {
		t.Errorf("the symlink points at %q, %v", target, err)
	}
	if st := lstat(t, filepath.Join(dir, "fifo")); st.Mode != unix.S_IFIFO|0o620 {
		t.Errorf("the fifo's mode is %o", st.Mode)
	}
	if st := lstat(t, filepath.Join(dir, "implied/a")); st.Mode&0o7777 != impliedDirMode {
		t.Errorf("an implied directory's mode is %o", st.Mode)
	}
	if st := lstat(t, filepath.Join(dir, "other")); st.Nlink != 2 {
		t.Errorf("the hard link has %d names", st.Nlink)
	}
}

func lstat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return st
}

func TestExtractModesAndTimes(t *testing.T) {
	mtime := time.Unix(1_600_000_000, 123_456_789)
	at := func(h *tar.Header) {
		h.Format, h.ModTime, h.AccessTime = tar.FormatPAX, mtime, mtime.Add(time.Hour)
	}
	mode := func(m int64) func(*tar.Header) { return func(h *tar.Header) { h.Mode = m } }
	dir := extract(t,
		aDir("d").edit(at).edit(mode(0o3751)), aFile("d/f", "1").edit(at).edit(mode(0o4755)), aFile("d/g", "2").edit(mode(0)),
		aSymlink("d/s", "x").edit(at), aFile("old", "").edit(func(h *tar.Header) { h.AccessTime = time.Unix(1, 0) }),
	)
	for name, want := range map[string]uint32{"d": unix.S_IFDIR | 0o3751, "d/f": unix.S_IFREG | 0o4755, "d/g": unix.S_IFREG} {
		if st := lstat(t, filepath.Join(dir, name)); st.Mode != want {
			t.Errorf("%s has mode %o, want %o", name, st.Mode, want)
		}
	}
	for _, name := range []string{"d", "d/f", "d/s"} {
		st := lstat(t, filepath.Join(dir, name))
		if got := time.Unix(st.Mtim.Unix()); !got.Equal(mtime) {
			t.Errorf("%s was changed %v, want %v", name, got, mtime)
		}
	}
	if st := lstat(t, filepath.Join(dir, "d/f")); st.Atim.Sec != mtime.Unix()+3600 {
		t.Errorf("d/f was read %v", time.Unix(st.Atim.Unix()))
	}
	if st := lstat(t, filepath.Join(dir, "old")); st.Atim.Sec != 1_500_000_000 {
		t.Errorf("old was read %v, before it was changed", time.Unix(st.Atim.Unix()))
	}
}

func TestExtractStrangeTimes(t *testing.T) {
	for _, sec := range []int64{-1, -1 << 31, -1 << 40, 1 << 33, 1 << 40, 1<<62 - 1, -1 << 62} {
		dir := extract(t, aFile("f", "x").edit(func(h *tar.Header) {
			h.Format, h.ModTime = tar.FormatPAX, time.Unix(sec, 5)
		}))
		expectContent(t, filepath.Join(dir, "f"), "x")
	}
}

func TestExtractReplaces(t *testing.T) {
	dir := extract(t,
		aFile("f", "old, longer"), aFile("f", "new"),
		aDir("d"), aFile("d/x", "gone"), aFile("d", "file now"),
		aSymlink("s", "f"), aFile("s", "not through the link"),
		aFile("n", "file"), aDir("n"), aFile("n/y", "in a directory now"),
		aDir("m"), aFile("m/kept", "kept"), aDir("m").edit(func(h *tar.Header) { h.Mode = 0o700 }),
		aFile("l", "1"), aHardLink("k", "l"), aFile("l", "2"),
	)
	for name, want := range map[string]string{
		"f": "new", "d": "file now", "s": "not through the link", "n/y": "in a directory now", "m/kept": "kept", "k": "1", "l": "2",
	} {
		expectContent(t, filepath.Join(dir, name), want)
	}
	if st := lstat(t, filepath.Join(dir, "m")); st.Mode&0o7777 != 0o700 {
		t.Errorf("the merged directory's mode is %o", st.Mode)
	}
}

// A directory that is replaced must not be written to through a descriptor
// that was cached for it.
func TestExtractForgetsReplacedParents(t *testing.T) {
	dir := extract(t,
		aDir("real"), aDir("other"), aSymlink("d", "real"), aFile("d/1", ""),
		aSymlink("d", "other"), aFile("d/2", ""),
		aDir("p/q"), aFile("p/q/1", ""), aFile("p", ""), aDir("p"), aFile("p/q/2", "now"),
	)
	for _, name := range []string{"real/1", "other/2", "p/q/2"} {
		lstat(t, filepath.Join(dir, name))
	}
	if _, err := os.Lstat(filepath.Join(dir, "p/q/1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("p/q/1: %v", err)
	}
}

func TestExtractThroughSymlinksLikeAChroot(t *testing.T) {
	dir := extract(t,
		aDir("run"), aDir("var"), aSymlink("var/run", "/run"), aFile("var/run/pid", "1"),
		aSymlink("var/rel", "../run"), aFile("var/rel/sock", "2"),
		aDir("a/b/c"), aSymlink("a/b/c/up", "../../.."), aFile("a/b/c/up/top", "3"),
		aSymlink("chain", "/var/run"), aFile("chain/d/e", "4"),
		aSymlink("dots", "/./a//b/../b/c"), aFile("dots/f", "5"),
		aHardLink("hl", "var/run/pid"),
	)
	for name, want := range map[string]string{
		"run/pid": "1", "run/sock": "2", "top": "3", "run/d/e": "4", "a/b/c/f": "5", "hl": "1",
	} {
		expectContent(t, filepath.Join(dir, name), want)
	}
}

func TestExtractHardLinkToSymlink(t *testing.T) {
	dir := extract(t, aSymlink("s", "/etc/passwd"), aHardLink("t", "s"))
	if target, err := os.Readlink(filepath.Join(dir, "t")); err != nil || target != "/etc/passwd" {
		t.Errorf("t is %q, %v", target, err)
	}
}

func TestExtractNamesOfAnyBytes(t *testing.T) {
	longest := strings.Repeat("é", 127) + "x"
	names := []string{"\xff\xfe", "new\nline", `back\slash`, "tab\t", "-rf", " ", longest, "a=b", "ü/\x01"}
	var entries []entry
	for _, name := range names {
		entries = append(entries, aFile(name, name))
	}
	dir := extract(t, entries...)
	for _, name := range names {
		expectContent(t, filepath.Join(dir, name), name)
	}
}

func TestExtractDeeperThanPathMax(t *testing.T) {
	part := strings.Repeat("d", 200)
	deep := strings.Repeat(part+"/", 40) // 8,040 bytes
	dir, path := newDir(t)
	size, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t,
		aFile(deep+"f", "deep"), aFile(deep+"g", "down"), aHardLink(deep+"h", deep+"f"), aDir(deep+"e"), aFile(deep+"f", "again"),
	)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	expectSize(t, dir, size)
	headers, bodies := readTar(t, packTree(t, path))
	if len(headers) != 44 || bodies[deep+"f"] != "again" || bodies[deep+"g"] != "down" {
		t.Errorf("%d entries came back: %.300q", len(headers), namesOf(headers))
	}
}

// More levels than descriptors: nothing may hold one for each.
func TestExtractDeeperThanDescriptors(t *testing.T) {
	deep := strings.Repeat("d/", 5000/min(raceShare, 2)) // longer than a symlink can be
	dir, path := newDir(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: 256, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}()
	long := tarOf(t, aFile(deep+"f", "deep"), aSymlink("s", deep), aFile("s/g", "x"))
	if _, err := Extract(t.Context(), dir, bytes.NewReader(long), Options{}); err == nil {
		t.Errorf("a symlink of %d bytes was made", len(deep))
	}
	size, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, aFile(deep+"g", "down"))), Options{})
	if err != nil {
		t.Fatal(err)
	}
	expectSize(t, dir, size)
	if _, bodies := readTar(t, packTree(t, path)); bodies[deep+"f"] != "deep" || bodies[deep+"g"] != "down" {
		t.Errorf("%d files came back", len(bodies))
	}
}

func TestExtractSparse(t *testing.T) {
	const block = 128 << 10
	data := func(n int) string { return strings.Repeat("data", n/4) }
	hole := func(n int) string { return strings.Repeat("\x00", n) }
	for name, body := range map[string]string{
		"hole at the end": data(block) + hole(9*block),
		"in the middle":   data(block) + hole(8*block) + data(block),
		"at the start":    hole(9*block) + data(100),
		"only holes":      hole(10 * block),
		"odd sizes":       data(4) + hole(10*block+77) + data(8) + hole(3),
		"short zeros":     hole(17),
	} {
		dir := extract(t, aFile("f", body))
		path := filepath.Join(dir, "f")
		expectContent(t, path, body)
		st := lstat(t, path)
		if st.Size > block && st.Blocks*512 > 4*block {
			t.Errorf("%s: %d bytes take %d", name, st.Size, st.Blocks*512)
		}
	}
}

func TestExtractPAXSparse(t *testing.T) {
	const size = 64 << 20
	e := aFile("GNUSparseFile.0/f", "1\n1048576\n4\n"+strings.Repeat("\x00", 512-12)+"data").edit(func(h *tar.Header) {
		h.Format = tar.FormatPAX
	})
	dir, path := newDir(t)
	got, err := Extract(t.Context(), dir, bytes.NewReader(rawPAX(e, map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": "67108864",
	})), Options{})
	if err != nil || got != size {
		t.Fatalf("%d bytes, %v", got, err)
	}
	st := lstat(t, filepath.Join(path, "f"))
	if st.Size != size || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes take %d", st.Size, st.Blocks*512)
	}
	f, err := os.Open(filepath.Join(path, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 6)
	if _, err := f.ReadAt(buf, 1<<20-1); err != nil || string(buf) != "\x00data\x00" {
		t.Errorf("the data is %q, %v", buf, err)
	}
}

func TestExtractWithoutEndMarker(t *testing.T) {
	data := tarOf(t, aFile("f", "x"))
	dir, path := newDir(t)
	if _, err := Extract(t.Context(), dir, bytes.NewReader(data[:len(data)-1024]), Options{}); err != nil {
		t.Fatal(err)
	}
	expectContent(t, filepath.Join(path, "f"), "x")
}

func TestExtractEmptyLayerAndEmptyStream(t *testing.T) {
	dir, _ := newDir(t)
	if size, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t)), Options{}); err != nil || size != 0 {
		t.Errorf("an empty layer: %d, %v", size, err)
	}
	if size, err := Extract(t.Context(), dir, bytes.NewReader(nil), Options{}); err != nil || size != 0 {
		t.Errorf("a stream of no bytes: %d, %v", size, err)
	}
}

func TestExtractReadsToTheEnd(t *testing.T) {
	r := bytes.NewReader(append(tarOf(t, aFile("f", "x")), make([]byte, 3<<20)...))
	dir, _ := newDir(t)
	if _, err := Extract(t.Context(), dir, r, Options{}); err != nil || r.Len() != 0 {
		t.Errorf("%d bytes were left, %v", r.Len(), err)
	}
	broken := io.MultiReader(bytes.NewReader(tarOf(t)), errReader{io.ErrUnexpectedEOF})
	if _, err := Extract(t.Context(), dir, broken, Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body cut after the archive: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestExtractIntoANonEmptyDirectoryCountsAll(t *testing.T) {
	dir, path := newDir(t)
	if err := os.WriteFile(filepath.Join(path, "before"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	size, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, aFile("f", "x"))), Options{})
	if err != nil || size != 6 {
		t.Errorf("%d bytes, %v", size, err)
	}
}

// TestExtractLeavesTheRootsAttributes: overlay2 passes over the root's entry.
func TestExtractLeavesTheRootsAttributes(t *testing.T) {
	dir := extract(t, aDir("./").edit(func(h *tar.Header) { h.Mode = 0o1700; h.Uid = 77 }), aFile("f", "x"))
	if st := lstat(t, dir); st.Mode&0o7777 != 0o755 || int(st.Uid) != os.Getuid() {
		t.Errorf("the root has mode %o and owner %d", st.Mode, st.Uid)
	}
}

func TestExtractUserXattrs(t *testing.T) {
	dir := extract(t, aFile("f", "x").xattr("user.a%3Db", "\x00binary\xff"), aDir("d").xattr("user.overlay.opaque", "y"), aFile("none", "").xattr("bogus.namespace", "x"))
	buf := make([]byte, 100)
	n, err := unix.Lgetxattr(filepath.Join(dir, "f"), "user.a=b", buf)
	if err != nil || string(buf[:n]) != "\x00binary\xff" {
		t.Errorf("user.a=b is %q, %v", buf[:max(n, 0)], err)
	}
}
