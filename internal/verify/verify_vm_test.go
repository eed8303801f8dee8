//go:build vm

package verify

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// What only root may make: marks of directories that hide, and capabilities.

const caps = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestWhatOnlyRootMakes(t *testing.T) {
	ping, plain := header("a/ping", tar.TypeReg, 0o755), header("a/plain", tar.TypeReg, 0o755)
	ping.PAXRecords = map[string]string{"SCHILY.xattr." + layertar.Capabilities: caps}
	layer := recorded{header("a/", tar.TypeDir, 0o755), ping, plain, deletion("hides/.wh..wh..opq"), deletion(".wh.put"), header("put/", tar.TypeDir, 0o755)}
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
		"": func(func(string) string) {},
		`"a/ping": has lost the attribute "security.cap`:  func(at func(string) string) { remove(at("a/ping"), layertar.Capabilities) },
		`"a/plain": has capabilities, recorded none`:      func(at func(string) string) { set(at("a/plain"), layertar.Capabilities, caps) },
		`"a" hides the directory below it, and the tar`:   func(at func(string) string) { set(at("a"), whiteout.OpaqueXattr, whiteout.OpaqueValue) },
		"does not hide the directory below it":            func(at func(string) string) { remove(at("hides"), whiteout.OpaqueXattr) },
		`".wh.put": does not hide the directory below it`: func(at func(string) string) { remove(at("put"), whiteout.OpaqueXattr) },
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
		set(at("hides"), whiteout.OpaqueXattr, whiteout.OpaqueValue)
		set(at("put"), whiteout.OpaqueXattr, whiteout.OpaqueValue)
		spoil(at)
		err := compareOn(t.Context(), t, layer, dir, false)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}
