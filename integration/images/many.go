package images

import (
	"archive/tar"
	"fmt"
	"testing"
)

// ManyFiles is the number of files in the directory /many of WriteManyFiles.
const ManyFiles = 100

// ChangeManyFiles is a shell's script that changes each of them.
const ChangeManyFiles = "for f in /many/*; do echo changed >>$f; done"

// WriteManyFiles writes an image of a small Debian with a directory of small files, and
// returns the archive's path.
func WriteManyFiles(t testing.TB, name string) string {
	t.Helper()
	entries := []Entry{{Header: tar.Header{Name: "many/", Mode: 0o755, Typeflag: tar.TypeDir}}}
	for i := range ManyFiles {
		entries = append(entries, textEntry(fmt.Sprintf("many/%d", i), "below\n"))
	}
	return WriteArchive(t, name, []string{"sleep", "1000000"}, append(ThreeLayers(t), MakeLayer(t, entries...))...)
}
