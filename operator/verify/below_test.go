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
	for says, spoil := range map[string]func(at func(string) string){
		"": func(func(string) string) {},
		// The change that each of these makes shows.
		`"data/z": is missing`:                        func(at func(string) string) { no(os.Remove(at("var/data/z"))) },
		"has other content than recorded":             func(at func(string) string) { put(at(""), "var/data/z", strings.ToUpper(content)) },
		`is not a hard link to "etc/passwd"`:          func(at func(string) string) { no(os.Remove(at("etc/passwd-"))); put(at(""), "etc/passwd-", "other") },
		"is not opaque, so the directory below shows": func(at func(string) string) { no(os.Remove(at("old/x"))) },
		`"etc/hosts" exists, but not in the tar`:      func(at func(string) string) { put(at(""), "etc/hosts", "changed") },
		"unproven": func(at func(string) string) {
			put(at(""), "etc/hosts", "ETC/HOSTS")
			stamp := time.Unix(1e9, 0)
			no(errors.Join(os.Chtimes(at("etc/hosts"), stamp, stamp), os.Chtimes(lower("etc/hosts"), stamp, stamp)))
		},
		`"tmp" exists, but not in the tar`:                 func(at func(string) string) { no(os.Chmod(at("tmp"), 0o700)) },
		`"etc/hosts" exists, but not in the tar: a delete`: nil,
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
		if spoil == nil {
			no(os.Remove(filepath.Join(dir, "etc/hosts")))
			no(unix.Mknod(filepath.Join(dir, "etc/hosts"), unix.S_IFCHR, 0))
			says, _, _ = strings.Cut(says, ": a")
		} else {
			spoil(func(name string) string { return filepath.Join(dir, name) })
		}
		err := compareOn(t.Context(), t, layer, dir, below)
		if strings.HasPrefix(says, "unproven") {
			if classify(err) != Unproven || !strings.Contains(err.Error(), "only the content changed") {
				t.Errorf("%q: %v", says, err)
			}
			continue
		}
		if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || classify(err) != Changed) {
			t.Errorf("%q: %v", says, err)
		}
	}
}
