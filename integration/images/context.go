package images

import (
	"bytes"
	_ "embed"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

//go:embed everything/Dockerfile
var dockerfile []byte

// WriteEverythingContext writes the build context of everything/Dockerfile.
func WriteEverythingContext(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	megabyte := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(megabyte) // never fails
	var odd bytes.Buffer
	inguest.Must(t, writeOddTar(&odd))
	files := map[string][]byte{
		"Dockerfile":               dockerfile,
		"odd.tar":                  odd.Bytes(),
		"copied/megabyte":          megabyte,
		"copied/over":              []byte("over\n"),
		"copied/sub/with space":    []byte("space\n"),
		"copied/sub/empty":         nil,
		"copied/sub/\u00fcn\u00ef": []byte("unicode\n"),
	}
	debs, err := filepath.Glob("/lab/base/debs/*.deb")
	inguest.Must(t, err)
	if len(debs) < 3 {
		t.Fatalf("too few packages to install: %q", debs)
	}
	for _, deb := range debs {
		raw, err := os.ReadFile(deb)
		inguest.Must(t, err)
		files["debs/"+filepath.Base(deb)] = raw
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		inguest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		inguest.Must(t, os.WriteFile(path, content, 0o644))
	}
	inguest.Must(t, os.Symlink("over", filepath.Join(dir, "copied", "symlink")))
	inguest.Must(t, os.Chmod(filepath.Join(dir, "copied", "over"), 0o755))
	return setLongAgo(t, dir)
}

// WriteContext writes files, each by its path, into a new directory. Their time is
// LongAgo.
func WriteContext(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		inguest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		inguest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	return setLongAgo(t, dir)
}

// setLongAgo sets the time of everything in a directory to LongAgo.
func setLongAgo(t testing.TB, dir string) string {
	t.Helper()
	inguest.Must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type() == os.ModeSymlink {
			return err
		}
		return os.Chtimes(path, LongAgo, LongAgo)
	}))
	return dir
}
