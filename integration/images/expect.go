package images

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// Hidden checks that the stage changes holds nothing of what its steps removed.
func Hidden(t testing.TB, tree *treecmp.Tree) {
	t.Helper()
	for dir, want := range map[string]string{
		"lower/opaque-dir":     "newer",
		"lower/delete-dir":     "back",
		"lower/dir-to-file":    "again",
		"lower/dir-to-symlink": "",
		"lower/symlink-to-dir": "in",
		"lower/deep/er":        "est est/new",
		"lower/keep-dir":       "old sub sub/old",
		"links":                "a across c later",
	} {
		var below []string
		for _, path := range tree.Below(dir) {
			below = append(below, strings.TrimPrefix(path, dir+"/"))
		}
		if got := strings.Join(below, " "); got != want {
			t.Errorf("%s holds %q, want %q", dir, got, want)
		}
	}
	for _, path := range []string{"lower/delete-file", "short-lived", "short-dir", "unpacked/plain", "lower/unpacked-dir", "links/b"} {
		if _, found := tree.Find(path); found {
			t.Errorf("%s was deleted and is there", path)
		}
	}
}

// Hold checks entries against what is written here: vfs and we could be wrong
// in the Same way.
func Hold(t testing.TB, tree *treecmp.Tree, checks map[string]func(*treecmp.Entry) error) {
	t.Helper()
	for path, check := range checks {
		e, found := tree.Find(path)
		if !found {
			t.Errorf("%s is missing", path)
		} else if err := check(e); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// AcrossLayers are the hard links that a step makes to a file of an earlier one.
// overlayfs copies that file up with the new link and leaves its other names
// behind. vfs keeps the names together on disk, and loses the new link when it
// makes a layer; BuildKit leaves names out of a layer whose files did not change,
// where it packs the layer from overlayfs's upper directory. What they must be
// otherwise is in InChanges.
var AcrossLayers = []string{
	"lower/hard-a", "lower/hard-b", "links/across", "links/a", "links/c", "links/later", "caps/linked", "caps/other-name",
}

// InChanges are the entries of the target "changes", each with what it has to be.
var InChanges = map[string]func(*treecmp.Entry) error{
	"lower/file-to-dir":     is(treecmp.File, 0o644, 0, 0),
	"lower/file-to-symlink": leadsTo("replace-file"),
	"lower/link":            leadsTo("/lower/replace-file"),
	"lower/dirlink":         leadsTo("nowhere"),
	"lower/suid":            is(treecmp.File, 0o4755, 0, 0),
	"lower/sgid-dir":        is(treecmp.Dir, 0o2775, 0, 0),
	"lower/sticky-dir":      is(treecmp.Dir, 0o1777, 0, 0),
	"lower/mode-none":       is(treecmp.File, 0, 0, 0),
	"lower/chown-dir/sub":   is(treecmp.Dir, 0o755, 1234, 4321),
	"lower/chown-link":      is(treecmp.Symlink, 0o777, 1234, 4321),
	"lower/char":            device(treecmp.Char, 0o640, 1, 7),
	"lower/fifo":            is(treecmp.Fifo, 0o600, 0, 0),
	"lower/attributed":      attribute("user.note", "a\x00b"),
	"nodes/char":            device(treecmp.Char, 0o644, 1, 3),
	"nodes/block":           device(treecmp.Block, 0o644, 7, 200),
	"nodes/zero":            device(treecmp.Char, 0o644, 0, 1),
	"nodes/fifo":            is(treecmp.Fifo, 0o644, 0, 0),
	"links/later":           linked("links/a", "links/later"),
	"links/across":          linked("links/across", "lower/hard-a"),
	"links/c":               linked(),
	"lower/hard-b":          linked(),
	"lower/hard-c":          linked(),
	"caps/tool":             attribute(Capability, netRaw),
	"caps/touched":          attribute(Capability, netRaw),
	"caps/chmodded":         attribute(Capability, netRaw),
	"caps/renamed":          attribute(Capability, netRaw),
	"caps/other-name":       attribute(Capability, netRaw),
	"caps/written":          attribute(Capability, ""),
	"unpacked/capable":      attribute(Capability, netRaw),
	"unpacked/owned":        is(treecmp.File, 0o4711, 77, 78),
	"copied/megabyte":       is(treecmp.File, 0o644, 7, 8),
	"tmp/mine":              is(treecmp.File, 0o644, 1234, 4321),
	"tmp/dir":               is(treecmp.Dir, 0o700, 1234, 4321),

	`names with spaces/\xff\xfe\x80`:                      Sized(6),
	`names with spaces/new\x0aline\x5cback"quote`:         Sized(8),
	`names with spaces/ lead and trail `:                  Sized(7),
	"names with spaces/" + strings.Repeat("0", 254) + "7": Sized(5),
	deepPath(40) + "/bottom":                              Sized(7),
}

func deepPath(n int) string {
	var dirs []string
	for i := range n {
		dirs = append(dirs, fmt.Sprintf("deep-%040d", i+1))
	}
	return strings.Join(dirs, "/")
}

func is(kind string, mode uint32, uid, gid int) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != kind || e.Mode != mode || e.UID != uid || e.GID != gid {
			return fmt.Errorf("%s %04o %d:%d, want %s %04o %d:%d", e.Type, e.Mode, e.UID, e.GID, kind, mode, uid, gid)
		}
		return nil
	}
}

func device(kind string, mode, major, minor uint32) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		err := is(kind, mode, 0, 0)(e)
		if e.Major != major || e.Minor != minor {
			err = errors.Join(err, fmt.Errorf("device %d:%d, want %d:%d", e.Major, e.Minor, major, minor))
		}
		return err
	}
}

func leadsTo(target string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != treecmp.Symlink || e.Target != target {
			return fmt.Errorf("%s to %q, want a symlink to %q", e.Type, e.Target, target)
		}
		return nil
	}
}

// Sized is a file of that length.
func Sized(size int64) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != treecmp.File || e.Size != size {
			return fmt.Errorf("%s of %d bytes, want a file of %d", e.Type, e.Size, size)
		}
		return nil
	}
}

func linked(names ...string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if !slices.Equal(e.Names, names) {
			return fmt.Errorf("its hard links are %q, want %q", e.Names, names)
		}
		return nil
	}
}

func attribute(name, value string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if got := e.Xattrs[name]; got != hex.EncodeToString([]byte(value)) {
			return fmt.Errorf("%s is 0x%s, want %x", name, got, value)
		}
		return nil
	}
}
