//go:build vm

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

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// These tests need root, and a file system that can be an overlay's upper.

func aWhiteout(path string) entry {
	dir, base := filepath.Split(path)
	return aFile(dir+".wh."+base, "").edit(func(h *tar.Header) { h.Mode = 0o600 })
}

func anOpaqueMarker(dir string) entry { return aFile(dir+"/.wh..wh..opq", "") }

func getxattr(t testing.TB, path, name string) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Lgetxattr(path, name, buf)
	if errors.Is(err, unix.ENODATA) {
		return ""
	}
	if err != nil {
		t.Fatalf("%s of %s: %v", name, path, err)
	}
	return string(buf[:n])
}

// kindOf is how overlayfs reads a file of an upper.
func kindOf(t testing.TB, path string) string {
	t.Helper()
	var st unix.Stat_t
	switch err := unix.Lstat(path, &st); {
	case errors.Is(err, unix.ENOENT):
		return "nothing"
	case err != nil:
		t.Fatal(err)
	}
	switch {
	case overlayfs.IsWhiteout(st.Mode, st.Rdev):
		return "whiteout"
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "file"
	case getxattr(t, path, overlayfs.OpaqueXattr) == "y":
		return "opaque"
	}
	return "merged"
}

func TestExtractWhiteouts(t *testing.T) {
	tests := []struct {
		what    string
		entries []entry
		want    map[string]string
	}{
		{"a whiteout", []entry{aWhiteout("a")}, map[string]string{"a": "whiteout", ".wh.a": "nothing"}},
		{"in a directory that is implied", []entry{aWhiteout("d/e/a")}, map[string]string{"d": "merged", "d/e": "merged", "d/e/a": "whiteout"}},
		{"twice", []entry{aWhiteout("a"), aWhiteout("a")}, map[string]string{"a": "whiteout"}},
		{"before the file", []entry{aWhiteout("a"), aFile("a", "x")}, map[string]string{"a": "file"}},
		{"after the file", []entry{aFile("a", "x"), aWhiteout("a")}, map[string]string{"a": "file"}},
		{"before the directory", []entry{aWhiteout("d"), aDir("d"), aFile("d/f", "")}, map[string]string{"d": "opaque", "d/f": "file"}},
		{"before an implied directory", []entry{aWhiteout("d"), aFile("d/f", "")}, map[string]string{"d": "opaque", "d/f": "file"}},
		{"before a deep implied directory", []entry{aWhiteout("d"), aFile("d/e/f", "")}, map[string]string{"d": "opaque", "d/e": "merged"}},
		{"after the directory", []entry{aDir("d"), aFile("d/f", ""), aWhiteout("d")}, map[string]string{"d": "opaque", "d/f": "file"}},
		{"with a file in between", []entry{aWhiteout("d"), aFile("d", ""), aDir("d")}, map[string]string{"d": "opaque"}},
		{"replaced by the other name", []entry{aSymlink("l", "e"), aDir("e"), aWhiteout("e/d"), aDir("l/d")}, map[string]string{"e/d": "opaque"}},
		{"a file over a directory that is replaced", []entry{aDir("d"), aFile("d", ""), aDir("d")}, map[string]string{"d": "merged"}},
		{"an opaque marker", []entry{aDir("d"), anOpaqueMarker("d"), aFile("d/f", "")}, map[string]string{"d": "opaque", "d/.wh..wh..opq": "nothing", "d/f": "file"}},
		{"an opaque marker after the files", []entry{aFile("d/f", ""), anOpaqueMarker("d"), aFile("d/g", "")}, map[string]string{"d": "opaque", "d/f": "file", "d/g": "file"}},
		{"an opaque marker in an implied directory", []entry{anOpaqueMarker("d/e")}, map[string]string{"d": "merged", "d/e": "opaque"}},
		{"an opaque marker, then the directory", []entry{anOpaqueMarker("d"), aDir("d")}, map[string]string{"d": "opaque"}},
		{"an opaque directory replaced", []entry{anOpaqueMarker("d"), aFile("d", ""), aDir("d")}, map[string]string{"d": "opaque"}},
		{"an opaque marker through a link", []entry{aDir("e"), aSymlink("l", "/e"), anOpaqueMarker("l")}, map[string]string{"e": "opaque", "l": "file"}},
		{"a whiteout over an opaque directory's file", []entry{anOpaqueMarker("d"), aWhiteout("d/f")}, map[string]string{"d": "opaque", "d/f": "whiteout"}},
		{"a whiteout with the longest name", []entry{aWhiteout(strings.Repeat("x", 255))}, map[string]string{strings.Repeat("x", 255): "whiteout"}},
		{"overlayfs's own form", []entry{{Header: header(tar.TypeChar, "a", 0)}, aHardLink("b", "a")}, map[string]string{"a": "whiteout", "b": "whiteout"}},
		{"AUFS's own files", []entry{aFile(".wh..wh.aufs", ""), aDir(".wh..wh.plnk"), aFile(".wh..wh.plnk/1", "")}, map[string]string{".wh..wh.aufs": "nothing", ".wh..wh.plnk": "nothing"}},
	}
	for _, tt := range tests {
		dir := extract(t, tt.entries...)
		for path, want := range tt.want {
			if got := kindOf(t, filepath.Join(dir, path)); got != want {
				t.Errorf("%s: %.20s is %s, want %s", tt.what, path, got, want)
			}
		}
	}
}

func TestWhiteoutsRoundTrip(t *testing.T) {
	dir := extract(t, aWhiteout("a"), aDir("d").edit(func(h *tar.Header) { h.Mode = 0o1750 }), anOpaqueMarker("d"), aFile("d/f", "x"), aWhiteout("d/w"), aWhiteout("z"))
	shared := filepath.Join(dir, "y") // the kernel links whiteouts to each other
	if err := os.Link(filepath.Join(dir, "z"), shared); err != nil {
		t.Fatal(err)
	}
	first := packTree(t, dir)
	headers, _ := readTar(t, first)
	want := []string{".wh.a", "d/", "d/.wh..wh..opq", "d/f", "d/.wh.w", ".wh.y", ".wh.z"}
	if diff := cmp.Diff(want, namesOf(headers)); diff != "" {
		t.Fatalf("entries (-want +got):\n%s", diff)
	}
	for _, h := range headers {
		if strings.Contains(h.Name, ".wh.") && (h.Typeflag != tar.TypeReg || h.Size != 0 || h.Linkname != "") {
			t.Errorf("%s is %+v", h.Name, h)
		}
		for record := range h.PAXRecords {
			if strings.Contains(record, "overlay") {
				t.Errorf("%s carries %s", h.Name, record)
			}
		}
	}
	if opq := headers[2]; opq.Mode != 0o750 || headers[0].Mode != 0o600 {
		t.Errorf("the markers' modes are %o and %o", opq.Mode, headers[0].Mode)
	}
	again, path := newDir(t)
	if _, err := Extract(t.Context(), again, bytes.NewReader(first), Options{}); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{"a": "whiteout", "d": "opaque", "d/f": "file", "d/w": "whiteout", "y": "whiteout", "z": "whiteout"} {
		if got := kindOf(t, filepath.Join(path, name)); got != kind {
			t.Errorf("%s came back as %s", name, got)
		}
	}
}

func TestDevicesOwnersAndCapabilities(t *testing.T) {
	device := func(typ byte, name string, major, minor int64) entry {
		h := header(typ, name, 0o660)
		h.Devmajor, h.Devminor, h.Uid, h.Gid = major, minor, 0, 6
		return entry{Header: h}
	}
	owned := func(h *tar.Header) { h.Uid, h.Gid, h.Mode = 1000, 3_000_000_000, 0o6755 }
	caps := string([]byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	dir := extract(t,
		device(tar.TypeBlock, "b", 259, 300), device(tar.TypeChar, "c", 4095, 1<<20-1), device(tar.TypeChar, "null", 1, 3),
		aFile("suid", "x").edit(owned), aSymlink("sl", "x").edit(owned), aDir("sd").edit(owned),
		aFile("cap", "x").edit(owned).xattr(Capabilities, caps), aHardLink("cap2", "cap").edit(owned).xattr(Capabilities, caps),
		aFile("cap3", "x").xattr(Capabilities, caps), aHardLink("cap4", "cap3"),
	)
	for name, want := range map[string]uint64{"b": unix.Mkdev(259, 300), "c": unix.Mkdev(4095, 1<<20-1), "null": unix.Mkdev(1, 3)} {
		st := lstat(t, filepath.Join(dir, name))
		if st.Rdev != want || st.Mode&0o7777 != 0o660 || st.Gid != 6 {
			t.Errorf("%s is device %#x, mode %o, group %d", name, st.Rdev, st.Mode, st.Gid)
		}
	}
	for _, name := range []string{"suid", "sl", "sd", "cap", "cap2"} {
		st := lstat(t, filepath.Join(dir, name))
		if st.Uid != 1000 || st.Gid != 3_000_000_000 || st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&0o7777 != 0o6755 {
			t.Errorf("%s is %d:%d, mode %o", name, st.Uid, st.Gid, st.Mode)
		}
	}
	for _, name := range []string{"cap", "cap2", "cap3", "cap4"} {
		if got := getxattr(t, filepath.Join(dir, name), Capabilities); got != caps {
			t.Errorf("%s has capabilities %q", name, got)
		}
	}
	first := packTree(t, dir)
	again, path := newDir(t)
	if _, err := Extract(t.Context(), again, bytes.NewReader(first), Options{}); err != nil {
		t.Fatal(err)
	}
	if second := packTree(t, path); !bytes.Equal(first, second) {
		t.Error("the second tar differs")
	}
}

func TestExtractInASetgidDirectory(t *testing.T) {
	dir := extract(t,
		aDir("d").edit(func(h *tar.Header) { h.Mode, h.Gid = 0o2775, 50 }), aFile("d/f", ""), aDir("d/e"), aFile("d/i/x", ""))
	for name, want := range map[string]uint32{"d/f": 0o644, "d/e": 0o755, "d/i": 0o755, "d/i/x": 0o644} {
		st := lstat(t, filepath.Join(dir, name))
		group := uint32(0)
		if name == "d/i" {
			group = 50 // a directory that the tar only implies: mkdir(2)'s, A4
		}
		if st.Mode&0o7777 != want || st.Gid != group {
			t.Errorf("%s has mode %o and group %d", name, st.Mode&0o7777, st.Gid)
		}
	}
}

func TestMappedOwnersOnDisk(t *testing.T) {
	ids := user.IdentityMapping{
		UIDMaps: []user.IDMap{{ID: 0, ParentID: 100_000, Count: 65536}},
		GIDMaps: []user.IDMap{{ID: 0, ParentID: 200_000, Count: 65536}},
	}
	dir, path := newDir(t)
	if err := os.Chown(path, 100_000, 200_000); err != nil { // as the driver makes it
		t.Fatal(err)
	}
	first := tarOf(t, aDir("./"), aFile("f", "").edit(func(h *tar.Header) { h.Uid, h.Gid = 33, 34 }), aFile("implied/g", ""), aWhiteout("w"))
	if _, err := Extract(t.Context(), dir, bytes.NewReader(first), Options{IDs: ids}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]uint32{".": {100_000, 200_000}, "f": {100_033, 200_034}, "implied": {100_000, 200_000}, "w": {100_000, 200_000}} {
		if st := lstat(t, filepath.Join(path, name)); [2]uint32{st.Uid, st.Gid} != want {
			t.Errorf("%s is owned by %d:%d", name, st.Uid, st.Gid)
		}
	}
	if err := os.Chown(filepath.Join(path, "w"), 0, 0); err != nil { // as the kernel leaves it
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := Pack(t.Context(), dir, &buf, Options{IDs: ids}); err != nil {
		t.Fatal(err)
	}
	headers, _ := readTar(t, buf.Bytes())
	for _, h := range headers {
		if want := map[string]int{"f": 33}[h.Name]; h.Uid != want {
			t.Errorf("%s is packed as %d's, want %d's", h.Name, h.Uid, want)
		}
	}
}

func TestPackRefusesWhatALowerLayerCompletes(t *testing.T) {
	for _, name := range []string{overlayfs.RedirectXattr, overlayfs.MetacopyXattr} {
		dir := extract(t, aDir("d"))
		if err := unix.Lsetxattr(filepath.Join(dir, "d"), name, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		expectNoArchive(t, fault.Unsupported, func(w io.Writer) error {
			return Pack(t.Context(), openDir(t, dir), w, Options{})
		})
	}
}

func TestPackCapabilitiesOfAUserNamespace(t *testing.T) {
	dir := extract(t, aFile("f", "x"))
	v3 := append([]byte{1, 0, 0, 3, 0, 0x20}, make([]byte, 18)...)
	v3[20], v3[21] = 0xe8, 3 // the namespace's root is 1000
	if err := unix.Lsetxattr(filepath.Join(dir, "f"), Capabilities, v3, 0); err != nil {
		t.Fatal(err)
	}
	headers, _ := readTar(t, packTree(t, dir))
	got := headers[0].PAXRecords[paxXattr+Capabilities]
	if len(got) != capSize2 || got[capRevision] != capRevision2 {
		t.Errorf("the capabilities are packed as %q", got)
	}
}

func TestPackNeedsNoPermissions(t *testing.T) {
	dir := extract(t, aDir("d").edit(func(h *tar.Header) { h.Mode = 0 }), aFile("d/f", "x").edit(func(h *tar.Header) { h.Mode = 0 }))
	if _, bodies := readTar(t, packTree(t, dir)); bodies["d/f"] != "x" {
		t.Errorf("packed %q", bodies)
	}
}

// TestExtractStopsReadingWhenThereIsNoRoom: the rest of a large file is not read.
func TestExtractStopsReadingWhenThereIsNoRoom(t *testing.T) {
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
	const size = 4 << 30
	rest := &io.LimitedReader{R: &repeat{block: bytes.Repeat([]byte("x"), 4096)}, N: size}
	tarball := io.MultiReader(bytes.NewReader(rawHeader('0', "large", "", size)), rest, bytes.NewReader(make([]byte, 1024)))
	_, err := Extract(t.Context(), openDir(t, path), tarball, Options{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "large") {
		t.Errorf("%v", err)
	}
	if read := size - rest.N; read > 256<<20 {
		t.Errorf("%d MiB were read", read>>20)
	}
}
