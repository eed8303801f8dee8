package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// outside puts something worth stealing beside a layer and returns a check
// that it is as it was.
func outside(t testing.TB, layer string) func() {
	t.Helper()
	around := filepath.Dir(layer)
	if err := os.WriteFile(filepath.Join(around, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(around, "victim"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := listing(t, around, layer)
	return func() {
		t.Helper()
		if diff := cmp.Diff(before, listing(t, around, layer)); diff != "" {
			t.Errorf("what is outside the layer changed (-before +after):\n%s", diff)
		}
	}
}

// listing is everything below root but the layer: mode, size, time, links.
func listing(t testing.TB, root, layer string) map[string][5]int64 {
	t.Helper()
	files := make(map[string][5]int64)
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == layer {
			return filepath.SkipDir
		}
		st := lstat(t, path)
		files[path] = [5]int64{int64(st.Mode), st.Size, st.Mtim.Nano(), int64(st.Nlink), int64(st.Uid)}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestExtractRefuses is long because it is one table, with a row for each hostile archive.
func TestExtractRefuses(t *testing.T) {
	device := func(major, minor int64) entry {
		h := header(tar.TypeBlock, "dev", 0o600)
		h.Devmajor, h.Devminor = major, minor
		return entry{Header: h}
	}
	tests := map[string][]entry{
		"a loop of links":               {aSymlink("a", "b"), aSymlink("b", "a"), aFile("a/f", "x")},
		"a file as a parent":            {aFile("f", "x"), aFile("f/g", "y")},
		"a link to a file as a parent":  {aFile("f", "x"), aSymlink("l", "f"), aFile("l/g", "y")},
		"a hard link above the root":    {aHardLink("l", "../secret")},
		"an absolute climbing link":     {aHardLink("l", "/../secret")},
		"a hard link through a symlink": {aSymlink("up", ".."), aHardLink("l", "up/secret")},
		"a hard link to nothing":        {aHardLink("l", "nothing")},
		"a hard link into nothing":      {aHardLink("l", "no/thing")},
		"a hard link to a directory":    {aDir("d"), aHardLink("l", "d")},
		"a hard link to the root":       {aHardLink("l", "/")},
		"a name too long":               {aFile(strings.Repeat("x", 256), "")},
		"a directory name too long":     {aFile(strings.Repeat("x", 256)+"/f", "")},
		"a path too long":               {aFile(strings.Repeat("x/", maxPath/2)+"f", "")},
		"a symlink to nothing":          {aSymlink("s", "")},
		"a symlink too long":            {aSymlink("s", strings.Repeat("x", 4096))},
		"a whiteout of nothing":         {aFile(".wh.", "")},
		"a whiteout of .":               {aFile("a/.wh..", "")},
		"a whiteout of ..":              {aFile("a/.wh...", "")},
		"a device number too large":     {device(1<<12, 0)},
		"a minor number too large":      {device(0, 1<<20)},
		"an unknown type":               {entry{Header: header('Z', "f", 0)}},
		"a part of a file":              {entry{Header: header('M', "f", 0)}},
		"an attribute value too large":  {aFile("f", "").xattr("user.x", strings.Repeat("x", 1<<16+1))},
	}
	for what, entries := range tests {
		dir, path := newDir(t)
		unchanged := outside(t, path)
		_, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, entries...)), Options{})
		if fault.ClassOf(err) != fault.UnsafeInput {
			t.Errorf("%s: class %q, %v", what, fault.ClassOf(err), err)
		} else if last := entries[len(entries)-1].Name; !strings.Contains(err.Error(), quote(last)) {
			t.Errorf("%s: the error does not name %.40q: %v", what, last, err)
		}
		unchanged()
	}
}

// Names that archive/tar itself would not write.
func TestExtractRefusesRawHeaders(t *testing.T) {
	big := rawHeader('x', "PaxHeaders.0/x", "", 1<<30)
	tests := map[string][]byte{
		"a NUL in a PAX name":     rawPAX(aFile("f", ""), map[string]string{"path": "a\x00b"}),
		"a NUL in a PAX link":     rawPAX(aSymlink("f", "x"), map[string]string{"linkpath": "a\x00b"}),
		"a PAX header of 1 GiB":   append(bytes.Clone(big), make([]byte, 1<<20)...),
		"a GNU name of 1 GiB":     append(rawHeader('L', "././@LongLink", "", 1<<30), make([]byte, 4<<20)...),
		"a checksum that is off":  append(rawHeader('0', "f", "", 0)[:511], 1),
		"garbage":                 bytes.Repeat([]byte("garbage "), 200),
		"a sparse map too long":   rawPAX(aFile("f", "999999999\n"+strings.Repeat("0\n", 1000)), map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
		"an attribute with a NUL": rawPAX(aFile("f", ""), map[string]string{"SCHILY.xattr.user.a\x00b": "x"}),
	}
	for what, data := range tests {
		dir, path := newDir(t)
		unchanged := outside(t, path)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Extract(t.Context(), dir, bytes.NewReader(data), Options{})
		runtime.ReadMemStats(&after)
		if fault.ClassOf(err) != fault.UnsafeInput {
			t.Errorf("%s: class %q, %v", what, fault.ClassOf(err), err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
			t.Errorf("%s took %d bytes of memory", what, took)
		}
		unchanged()
	}
}

// TestExtractStaysInside extracts what climbs: the root is the root of all paths.
func TestExtractStaysInside(t *testing.T) {
	tests := map[string][]entry{
		"a name above the root":             {aFile("../escape", "x")},
		"an absolute name above the root":   {aFile("/../escape", "x")},
		"a name that dips above the root":   {aFile("a/../../layer/f", "x")},
		"a parent that is a climbing link":  {aSymlink("up", "../victim"), aFile("up/f", "x")},
		"a chain that climbs":               {aDir("a"), aSymlink("a/up", ".."), aSymlink("b", "a/up/.."), aFile("b/f", "x")},
		"an absolute link that climbs":      {aSymlink("up", "/.."), aFile("up/f", "x")},
		"a link made to climb by moving it": {aDir("a/b"), aSymlink("a/b/l", "../../.."), aHardLink("l", "a/b/l"), aFile("l/f", "x")},
		"a directory through a link":        {aSymlink("up", "../victim"), aDir("up/new")},
		"a whiteout above the root":         {aFile("../.wh.secret", "")},
		"a whiteout through a link":         {aSymlink("up", ".."), aFile("up/.wh.secret", "")},
		"a root that is a file":             {aFile("..", "x")},
	}
	for what, entries := range tests {
		dir, path := newDir(t)
		unchanged := outside(t, path)
		if _, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, entries...)), Options{Base: true}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		unchanged()
	}
}

func TestExtractLinkErrorNamesBoth(t *testing.T) {
	dir, _ := newDir(t)
	_, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, aHardLink("new", "missing"))), Options{})
	if err == nil || !strings.Contains(err.Error(), `"new"`) || !strings.Contains(err.Error(), `"missing"`) {
		t.Error(err)
	}
}

func TestExtractTruncated(t *testing.T) {
	data := tarOf(t, aFile("first", strings.Repeat("1", 2000)), aFile("second", strings.Repeat("2", 2000)))
	for _, cut := range []int{1, 511, 513, 1500, 2048, 2570, 3100, 4000} {
		dir, _ := newDir(t)
		_, err := Extract(t.Context(), dir, bytes.NewReader(data[:cut]), Options{})
		if !errors.Is(err, io.ErrUnexpectedEOF) || fault.ClassOf(err) != fault.UnsafeInput {
			t.Errorf("cut at %d: class %q, %v", cut, fault.ClassOf(err), err)
			continue
		}
		if cut > 512 && !strings.Contains(err.Error(), "first") && !strings.Contains(err.Error(), "second") {
			t.Errorf("cut at %d: the error names no entry: %v", cut, err)
		}
	}
}

func TestExtractPassesReadErrorsOn(t *testing.T) {
	data := tarOf(t, aFile("f", strings.Repeat("x", 3000)))
	lost := errors.New("connection lost")
	dir, _ := newDir(t)
	r := io.MultiReader(bytes.NewReader(data[:2000]), errReader{lost})
	if _, err := Extract(t.Context(), dir, r, Options{}); !errors.Is(err, lost) || !strings.Contains(err.Error(), `"f"`) {
		t.Error(err)
	}
}

func TestExtractStopsWithItsContext(t *testing.T) {
	endless := rawHeader('0', "endless", "", 1<<33-1)
	many := func() io.Reader { return &repeat{block: tarOf(t, aFile("again", ""))[:512]} }
	// A sparse file of 4 EiB costs no input at all.
	sparse := rawPAX(aFile("s", "0\n"+strings.Repeat("\x00", 510)), map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4611686018427387904"})
	for what, r := range map[string]io.Reader{
		"an endless file":       io.MultiReader(bytes.NewReader(endless), &repeat{block: make([]byte, 4096)}),
		"an endless archive":    many(),
		"an endless trailer":    io.MultiReader(bytes.NewReader(tarOf(t)), &slow{}),
		"an endless hole":       bytes.NewReader(sparse),
		"an endless PAX header": &repeat{block: append(rawHeader('x', "x", "", 13), padded(paxRecord("comment", "x"))...)},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		dir, _ := newDir(t)
		start := time.Now()
		_, err := Extract(ctx, dir, r, Options{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
			t.Errorf("%s: %v after %v", what, err, time.Since(start))
		}
	}
}

// repeat is a block without end.
type repeat struct {
	block []byte
	off   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.off:])
	r.off = (r.off + n) % len(r.block)
	return n, nil
}

// slow is zeros without end, a few at a time.
type slow struct{}

func (slow) Read(p []byte) (int, error) { return min(len(p), 16), nil }

func TestExtractNeverLeavesThroughProc(t *testing.T) {
	dir, path := newDir(t)
	unchanged := outside(t, path)
	_, err := Extract(t.Context(), dir, bytes.NewReader(tarOf(t,
		aSymlink("p", "/proc/self/cwd"), aFile("p/f", "x"))), Options{})
	if err != nil {
		t.Fatal(err) // /proc is only another directory of the layer
	}
	expectContent(t, filepath.Join(path, "proc/self/cwd/f"), "x")
	unchanged()
}

func TestExtractLeaksNoDescriptor(t *testing.T) {
	before := descriptors(t)
	for _, entries := range [][]entry{
		{aFile("a/b/c", "x"), aHardLink("d/e", "a/b/c")},
		{aFile("a/b/c", "x"), aSymlink("a/up", "../.."), aFile("a/up/f", "")},
		{aFile("a", ""), aFile("a/b", "")},
		{aDir("a/b"), aFile("a", "")},
	} {
		path := filepath.Join(t.TempDir(), "layer")
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, extractErr := Extract(t.Context(), dir, bytes.NewReader(tarOf(t, entries...)), Options{})
		packErr := Pack(t.Context(), dir, io.Discard, Options{})
		if err := dir.Close(); err != nil || packErr != nil {
			t.Fatal(err, packErr, extractErr)
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A refusal of the kernel keeps its class through the layers of errors.
func TestKernelErrorsKeepTheirClass(t *testing.T) {
	err := fault.Classify(wrapEntry("f", unix.ENOSPC))
	if fault.ClassOf(err) != fault.NoSpace || classifyPath(unix.ENOSPC) != error(unix.ENOSPC) {
		t.Error(err)
	}
}
