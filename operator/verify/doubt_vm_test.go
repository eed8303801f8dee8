//go:build vm

package verify

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

func aSymlink(name, target string) *tar.Header {
	h := header(name, tar.TypeSymlink, 0o777)
	h.Linkname = target
	return h
}

// TestEntriesThatWorkOnEachOther: a symlink of the tar leads one entry to another's place. What
// the reader made of it is not called changed, but what is wrong besides is.
func TestEntriesThatWorkOnEachOther(t *testing.T) {
	file := func(name string) *tar.Header { return header(name, tar.TypeReg, 0o644) }
	for what, layer := range map[string]tarRecord{
		"a file takes a directory's place":   {file("b/c/f"), aSymlink("a", "../../.."), file("a/b")},
		"a directory that only a path had":   {aSymlink("b", "c"), file("b/d"), aSymlink("c", "nothing")},
		"the symlink's own place":            {aSymlink("a/c/d", "/a/c"), header("a/c/d/f/", tar.TypeDir, 0o700), file("a/c/d/d")},
		"a link to the symlink itself":       {header("c", tar.TypeFifo, 0o644), aSymlink("a", "/"), aLink("a/c", "../a")},
		"a directory takes a target's place": {header("a", tar.TypeChar, 0o644), aLink("g", "a"), deletion("a/c/.wh.f")},
		"a mark of the symlink itself":       {aSymlink("a", "/"), deletion("a/.wh.a")},
		"a directory that a mark implies":    {aSymlink("b/c", "b"), header("b/c/f", tar.TypeChar, 0o600)},
		"a symlink by another name":          {aSymlink("b", "../a"), aSymlink("b/c", "../../.."), file("a/c/a")},
		"the symlink's directory":            {aSymlink("a/c/d", "../../.."), header("a/c/d/a", tar.TypeFifo, 0o600)},
		"a link to what a symlink replaces":  {aSymlink("b", "f"), aLink("b/c/f", "./b"), aSymlink("f", "b")},
		"a directory takes a lower file's":   {aLink("b/f", "low/file"), file("low/file/x")},
		"what was replaced had replaced it":  {aSymlink("a", "../../.."), file("a/c/d/d"), file("c"), header("c/", tar.TypeDir, 0o711)},
		"a directory after a whiteout":       {header("low", tar.TypeChar, 0o600), header("low/", tar.TypeDir, 0o700)},
	} {
		dir, below := unpackOn(t, layer)
		if err := compareOn(t.Context(), t, layer, dir, below); err != nil && classify(err) != Unproven {
			t.Errorf("%s: %v", what, err)
		}
	}
	sound := tarRecord{file("b/c/f"), aSymlink("a", "b"), file("a/g")}
	for _, name := range []string{"b/c/f", "b/g"} {
		dir, below := unpackOn(t, sound)
		check(t, os.Remove(filepath.Join(dir, name)))
		if err := compareOn(t.Context(), t, sound, dir, below); err == nil || classify(err) != Changed {
			t.Errorf("no entry takes another's place, and %s is missing: %v", name, err)
		}
	}
}

// TestDeletionsInAFirstLayer: containerd unpacks a first layer without an overlay, so that a mark
// deletes what the same tar has.
func TestDeletionsInAFirstLayer(t *testing.T) {
	file := func(name string) *tar.Header { return header(name, tar.TypeReg, 0o644) }
	made := func(layer tarRecord, deleted string) error {
		dir := t.TempDir()
		for _, h := range layer {
			path := filepath.Join(dir, h.Name)
			check(t, os.MkdirAll(filepath.Dir(path), 0o755))
			if h.Typeflag == tar.TypeSymlink {
				check(t, os.MkdirAll(filepath.Join(dir, h.Linkname), 0o755))
				check(t, os.Symlink(h.Linkname, path))
			}
			if h.Typeflag == tar.TypeReg && h.Size > 0 {
				check(t, os.WriteFile(path, []byte(content), 0o644))
			}
		}
		check(t, os.RemoveAll(filepath.Join(dir, deleted)))
		return compare(t.Context(), t, layer, dir)
	}
	for what, tt := range map[string]struct {
		layer   tarRecord
		deleted string
		want    Status
	}{
		"a file":                  {tarRecord{file("a/b"), file("c"), deletion("a/.wh.b")}, "a/b", Unproven},
		"its directory":           {tarRecord{file("a/b/d"), file("c"), deletion(".wh.a")}, "a", Unproven},
		"a directory's content":   {tarRecord{file("a/b/d"), file("c"), deletion("a/.wh..wh..opq")}, "a/b", Unproven},
		"everything":              {tarRecord{file("a/b/d"), deletion(".wh..wh..opq")}, "a", Unproven},
		"an earlier mark":         {tarRecord{deletion("a/.wh.b"), file("a/b"), file("c")}, "a/b", Changed},
		"another's mark":          {tarRecord{file("a/b"), file("c"), deletion(".wh.c")}, "a/b", Changed},
		"by a symlink":            {tarRecord{file("a/b/d"), aSymlink("c", "a"), deletion("c/.wh..wh..opq")}, "a/b", Unproven},
		"the symlink itself":      {tarRecord{aSymlink("s", "a"), file("s/b"), deletion(".wh.s")}, "s", Unproven},
		"a whiteout that is gone": {tarRecord{header("b/c/g", tar.TypeChar, 0o600), header("b", tar.TypeChar, 0o600), aLink("b/g", "b/c/g"), file("c")}, "b", Unproven},
		"a name that begins so":   {tarRecord{file("ab/d"), file("a/c"), deletion(".wh.a")}, "ab", Changed},
	} {
		if err := made(tt.layer, tt.deleted); err == nil || classify(err) != tt.want {
			t.Errorf("%s: %v, want %s", what, err, tt.want)
		}
	}
}

// TestADirectoryAfterItsDeletion: containerd's overlay has the whiteout replaced by a directory,
// which shows the one below, and the plugin makes it opaque.
func TestADirectoryAfterItsDeletion(t *testing.T) {
	layer := tarRecord{deletion(".wh.low"), header("low/", tar.TypeDir, 0o755)}
	dir, below := unpackOn(t, layer)
	if err := compareOn(t.Context(), t, layer, dir, below); err != nil {
		t.Errorf("as unpacked: %v", err)
	}
	check(t, unix.Removexattr(filepath.Join(dir, "low"), overlayfs.OpaqueXattr))
	if err := compareOn(t.Context(), t, layer, dir, below); err == nil || classify(err) != Unproven {
		t.Errorf("the directory shows: %v", err)
	}
	before := tarRecord{header("low/", tar.TypeDir, 0o755), deletion(".wh.low")}
	dir, below = unpackOn(t, before)
	check(t, unix.Removexattr(filepath.Join(dir, "low"), overlayfs.OpaqueXattr))
	if err := compareOn(t.Context(), t, before, dir, below); err == nil || classify(err) != Changed {
		t.Errorf("the deletion comes later: %v", err)
	}
}
