package verify

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestALayerThatWasOneTree: another driver unpacked the tar into a tree with the layers below,
// and a migration carried what came of it.
func TestALayerThatWasOneTree(t *testing.T) {
	link := header("etc/passwd-", tar.TypeLink, 0o644)
	link.Linkname = "etc/passwd"
	layer := tarRecord{header("data/z", tar.TypeReg, 0o644), link, deletion("old/.wh..wh..opq"), deletion(".wh.never")}
	no := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(dir, name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		no(os.MkdirAll(filepath.Dir(path), 0o755))
		no(os.WriteFile(path, []byte(content), 0o600))
		no(os.Chmod(path, 0o644))
	}
	var below string
	lower := func(name string) string { return filepath.Join(below, name) }
	for _, tt := range []struct {
		says  string
		want  Status
		spoil func(at func(string) string)
	}{
		{"", OK, func(func(string) string) {}},
		// The change that each of these makes shows.
		{`"data/z": is missing`, Changed, func(at func(string) string) { no(os.Remove(at("var/data/z"))) }},
		{"has other content than recorded", Changed, func(at func(string) string) { put(at(""), "var/data/z", strings.ToUpper(content)) }},
		{`is not a hard link to "etc/passwd"`, Changed, func(at func(string) string) {
			no(os.Remove(at("etc/passwd-")))
			put(at(""), "etc/passwd-", "other")
		}},
		{"is not opaque, so the directory below shows", Changed, func(at func(string) string) { no(os.Remove(at("old/x"))) }},
		{`"etc/hosts" exists, but not in the tar`, Changed, func(at func(string) string) { put(at(""), "etc/hosts", "changed") }},
		{`"etc/hosts" exists, but not in the tar`, Changed, func(at func(string) string) {
			no(os.Remove(at("etc/hosts")))
			no(unix.Mknod(at("etc/hosts"), unix.S_IFCHR, 0))
		}},
		{`"tmp" exists, but not in the tar`, Changed, func(at func(string) string) { no(os.Chmod(at("tmp"), 0o700)) }},
		// Docker's own drivers would not have seen this one.
		{"only the content changed", Unproven, func(at func(string) string) {
			put(at(""), "etc/hosts", "ETC/HOSTS")
			stamp := time.Unix(1e9, 0)
			no(errors.Join(os.Chtimes(at("etc/hosts"), stamp, stamp), os.Chtimes(lower("etc/hosts"), stamp, stamp)))
		}},
	} {
		dir := t.TempDir()
		below = t.TempDir()
		for _, name := range []string{"var/data/kept", "etc/passwd", "etc/hosts", "old/x", "old/sub/y", "tmp/x"} {
			put(below, name, name)
		}
		no(os.Symlink("var/data", filepath.Join(below, "data")))
		put(dir, "var/data/z", content)
		put(dir, "etc/passwd", "etc/passwd")
		no(os.Link(filepath.Join(dir, "etc/passwd"), filepath.Join(dir, "etc/passwd-")))
		no(os.MkdirAll(filepath.Join(dir, "old"), 0o755))
		no(os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
		for _, name := range []string{"old/x", "old/sub", "not-below"} {
			no(unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR, 0))
		}
		put(dir, "etc/hosts", "etc/hosts") // as it is below
		tt.spoil(func(name string) string { return filepath.Join(dir, name) })
		err := compareOn(t.Context(), t, layer, dir, below)
		got := OK
		if err != nil {
			got = classify(err)
		}
		if got != tt.want || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %s, %v", tt.says, got, err)
		}
	}
}
