//go:build vm

package verify

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// caps is the value of a capability. Only root may set capabilities and mark opaque directories.
const caps = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestMarksOfRoot(t *testing.T) {
	ping, plain := header("a/ping", tar.TypeReg, 0o755), header("a/plain", tar.TypeReg, 0o755)
	ping.PAXRecords = map[string]string{"SCHILY.xattr." + layertar.Capabilities: caps}
	layer := tarRecord{header("a/", tar.TypeDir, 0o755), ping, plain, deletion("hides/.wh..wh..opq"), deletion(".wh.put"), header("put/", tar.TypeDir, 0o755)}
	set := func(path, attr, value string) {
		t.Helper()
		if err := unix.Setxattr(path, attr, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(path, attr string) {
		t.Helper()
		if err := unix.Removexattr(path, attr); err != nil {
			t.Fatal(err)
		}
	}
	for says, spoil := range map[string]func(at func(string) string){
		"":                                    func(func(string) string) {},
		`"a/ping": has lost its capabilities`: func(at func(string) string) { remove(at("a/ping"), layertar.Capabilities) },
		`"a/plain": has capabilities, recorded none`:             func(at func(string) string) { set(at("a/plain"), layertar.Capabilities, caps) },
		`"a" is opaque, but not in the tar`:                      func(at func(string) string) { set(at("a"), overlayfs.OpaqueXattr, overlayfs.OpaqueValue) },
		"is not opaque, so the directory below shows":            func(at func(string) string) { remove(at("hides"), overlayfs.OpaqueXattr) },
		`".wh.put": is not opaque, so the directory below shows`: func(at func(string) string) { remove(at("put"), overlayfs.OpaqueXattr) },
	} {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		for _, name := range []string{"a", "hides", "put"} {
			if err := os.Mkdir(at(name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"a/ping", "a/plain"} {
			if err := os.WriteFile(at(name), []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		set(at("a/ping"), layertar.Capabilities, caps)
		set(at("hides"), overlayfs.OpaqueXattr, overlayfs.OpaqueValue)
		set(at("put"), overlayfs.OpaqueXattr, overlayfs.OpaqueValue)
		spoil(at)
		err := compareOn(t.Context(), t, layer, dir, baseDir(t))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// TestUnpackedLayersMatchTheirRecords: all that a tar can say is found again in what
// this project makes of it.
func TestUnpackedLayersMatchTheirRecords(t *testing.T) {
	with := func(h *tar.Header, change func(h *tar.Header)) *tar.Header { change(h); return h }
	null := with(header("dev/null", tar.TypeChar, 0o666), func(h *tar.Header) { h.Devmajor, h.Devminor = 1, 3 })
	ping := with(header("bin/ping", tar.TypeReg, 0o4755), func(h *tar.Header) {
		h.Uid, h.Gid = 1000, 1001
		h.PAXRecords = map[string]string{"SCHILY.xattr." + layertar.Capabilities: caps, "SCHILY.xattr.user.a": "1", "SCHILY.xattr.security.selinux": "x"}
	})
	again := with(header("opt/", tar.TypeDir, 0o700), func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.b": "2"} })
	link := func(name, target string, mode int64) *tar.Header {
		return with(header(name, tar.TypeLink, mode), func(h *tar.Header) { h.Linkname = target })
	}
	layer := slices.Concat(makeLayer(), tarRecord{
		null, ping, link("bin/ping4", "./bin/ping", 0o755), link("sbin/ping6", "/bin/ping4", 0o755), link("usr/through", "lib/other", 0o600), link("sl", "lib", 0o777),
		with(header("opt/", tar.TypeDir, 0o755), func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1"} }), again,
		deletion("opt/.wh..wh..opq"), deletion("opt/.wh.under"), header("opt/under/deep/", tar.TypeDir, 0o755),
		deletion(".wh.was-dir"), header("was-dir", tar.TypeReg, 0o644), header("late/", tar.TypeDir, 0o755), deletion(".wh.late"),
		header("over", tar.TypeChar, 0), deletion("left/out/.wh.x"), deletion("etc/.wh..wh.aufs"),
		deletion("gone/x"), header("gone", tar.TypeReg, 0o644), // the first is gone, with what it held
	})
	for _, below := range [][]string{nil, {baseDir(t)}} {
		var archive bytes.Buffer
		if err := layer.WriteTar(&archive, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := layertar.Extract(t.Context(), f, &archive, layertar.Options{Base: below == nil}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Close(), compareOn(t.Context(), t, layer, dir, below...)); err != nil {
			t.Errorf("on %v: %v", below, err)
		}
	}
}
