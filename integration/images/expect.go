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

// RequireHidden fails the test when the stage changes holds something that its steps
// removed.
func RequireHidden(t testing.TB, tree *treecmp.Tree) {
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
			t.Errorf("%s was deleted and is present", path)
		}
	}
}

// RequireEntries checks entries against the checks in this file, because vfs and our
// driver could be wrong in the same way.
func RequireEntries(t testing.TB, tree *treecmp.Tree, checks map[string]func(*treecmp.Entry) error) {
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

// CrossLayerLinks are hard links that a step makes to a file of an earlier step.
// overlayfs copies that file up with the new link and leaves its other names behind.
// vfs keeps the names together on disk, and loses the new link when it makes a layer.
// BuildKit omits names from a layer whose files did not change, where it packs
// overlayfs's upper directory. ExpectedEntries has what they must be otherwise.
var CrossLayerLinks = []string{
	"lower/hard-a", "lower/hard-b", "links/across", "links/a", "links/c", "links/later", "caps/linked", "caps/other-name",
}

// ExpectedEntries are the entries of the target "changes", each with its check.
var ExpectedEntries = map[string]func(*treecmp.Entry) error{
	"lower/file-to-dir":     hasAttributes(treecmp.File, 0o644, 0, 0),
	"lower/file-to-symlink": isSymlinkTo("replace-file"),
	"lower/link":            isSymlinkTo("/lower/replace-file"),
	"lower/dirlink":         isSymlinkTo("nowhere"),
	"lower/suid":            hasAttributes(treecmp.File, 0o4755, 0, 0),
	"lower/sgid-dir":        hasAttributes(treecmp.Dir, 0o2775, 0, 0),
	"lower/sticky-dir":      hasAttributes(treecmp.Dir, 0o1777, 0, 0),
	"lower/mode-none":       hasAttributes(treecmp.File, 0, 0, 0),
	"lower/chown-dir/sub":   hasAttributes(treecmp.Dir, 0o755, 1234, 4321),
	"lower/chown-link":      hasAttributes(treecmp.Symlink, 0o777, 1234, 4321),
	"lower/char":            isDevice(treecmp.Char, 0o640, 1, 7),
	"lower/fifo":            hasAttributes(treecmp.Fifo, 0o600, 0, 0),
	"lower/attributed":      hasXattr("user.note", "a\x00b"),
	"nodes/char":            isDevice(treecmp.Char, 0o644, 1, 3),
	"nodes/block":           isDevice(treecmp.Block, 0o644, 7, 200),
	"nodes/zero":            isDevice(treecmp.Char, 0o644, 0, 1),
	"nodes/fifo":            hasAttributes(treecmp.Fifo, 0o644, 0, 0),
	"links/later":           isLinkedTo("links/a", "links/later"),
	"links/across":          isLinkedTo("links/across", "lower/hard-a"),
	"links/c":               isLinkedTo(),
	"lower/hard-b":          isLinkedTo(),
	"lower/hard-c":          isLinkedTo(),
	"caps/tool":             hasXattr(Capability, netRaw),
	"caps/touched":          hasXattr(Capability, netRaw),
	"caps/chmodded":         hasXattr(Capability, netRaw),
	"caps/renamed":          hasXattr(Capability, netRaw),
	"caps/other-name":       hasXattr(Capability, netRaw),
	"caps/written":          hasXattr(Capability, ""),
	"unpacked/capable":      hasXattr(Capability, netRaw),
	"unpacked/owned":        hasAttributes(treecmp.File, 0o4711, 77, 78),
	"copied/megabyte":       hasAttributes(treecmp.File, 0o644, 7, 8),
	"tmp/mine":              hasAttributes(treecmp.File, 0o644, 1234, 4321),
	"tmp/dir":               hasAttributes(treecmp.Dir, 0o700, 1234, 4321),

	`names with spaces/\xff\xfe\x80`:                      HasSize(6),
	`names with spaces/new\x0aline\x5cback"quote`:         HasSize(8),
	`names with spaces/ lead and trail `:                  HasSize(7),
	"names with spaces/" + strings.Repeat("0", 254) + "7": HasSize(5),
	deepPath(40) + "/bottom":                              HasSize(7),
}

func deepPath(n int) string {
	var dirs []string
	for i := range n {
		dirs = append(dirs, fmt.Sprintf("deep-%040d", i+1))
	}
	return strings.Join(dirs, "/")
}

func hasAttributes(kind string, mode uint32, uid, gid int) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != kind || e.Mode != mode || e.UID != uid || e.GID != gid {
			return fmt.Errorf("%s %04o %d:%d, want %s %04o %d:%d", e.Type, e.Mode, e.UID, e.GID, kind, mode, uid, gid)
		}
		return nil
	}
}

func isDevice(kind string, mode, major, minor uint32) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		err := hasAttributes(kind, mode, 0, 0)(e)
		if e.Major != major || e.Minor != minor {
			err = errors.Join(err, fmt.Errorf("device %d:%d, want %d:%d", e.Major, e.Minor, major, minor))
		}
		return err
	}
}

func isSymlinkTo(target string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != treecmp.Symlink || e.Target != target {
			return fmt.Errorf("%s to %q, want a symlink to %q", e.Type, e.Target, target)
		}
		return nil
	}
}

// HasSize checks that an entry is a file of that size.
func HasSize(size int64) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != treecmp.File || e.Size != size {
			return fmt.Errorf("%s of %d bytes, want a file of %d", e.Type, e.Size, size)
		}
		return nil
	}
}

func isLinkedTo(names ...string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if !slices.Equal(e.Names, names) {
			return fmt.Errorf("its hard links are %q, want %q", e.Names, names)
		}
		return nil
	}
}

func hasXattr(name, value string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if got := e.Xattrs[name]; got != hex.EncodeToString([]byte(value)) {
			return fmt.Errorf("%s is 0x%s, want %x", name, got, value)
		}
		return nil
	}
}
