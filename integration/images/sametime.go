package images

import (
	"archive/tar"
	"testing"
)

// SameTimeLayers returns a layer, and one that changes its files and keeps their sizes and
// times. Two files of it are written again as they were.
func SameTimeLayers(t testing.TB) (base, change []byte) {
	t.Helper()
	layer := func(body, target string, minor int64, note string) []byte {
		text := func(name, body string) Entry {
			e := typedEntry(tar.TypeReg, name, 0o644, 0)
			e.Body = body
			return e
		}
		node := typedEntry(tar.TypeChar, "s/node", 0o666, 0)
		node.Header.Devmajor, node.Header.Devminor = 1, minor
		return MakeLayer(t,
			typedEntry(tar.TypeDir, "s/", 0o755, 0),
			attributedEntry(typedEntry(tar.TypeDir, "s/dir/", 0o755, 0), "user.note", note),
			attributedEntry(text("s/attribute", "body"), "user.note", note),
			text("s/content", body),
			pointingEntry(tar.TypeSymlink, "s/link", target),
			node,
			text("s/same", "body"),
			pointingEntry(tar.TypeSymlink, "s/same-link", "target"),
		)
	}
	return layer("v=1", "r1", 3, "a"), layer("v=2", "r2", 5, "b")
}

// SameTimeChanges are the changes of SameTimeLayers, as `docker diff` prints them, sorted.
var SameTimeChanges = []string{"C /s", "C /s/attribute", "C /s/content", "C /s/dir", "C /s/link", "C /s/node"}
