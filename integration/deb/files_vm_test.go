//go:build vm

package deb

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// watched are the directories that a package may put files into.
var watched = []string{"/etc", "/usr", "/opt", "/var/lib", "/run"}

// ignored are directories of dpkg, which a purge empties, and of the engine.
var ignored = []string{"/var/lib/dpkg", "/var/lib/docker", "/run/docker"}

// listPaths lists all paths in the watched directories.
func listPaths(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, dir := range watched {
		inguest.Must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if slices.Contains(ignored, path) {
				return fs.SkipDir
			}
			all[path] = true
			return err
		}))
	}
	return all
}

// listPackagePaths lists the paths that dpkg records for the package.
func listPackagePaths(t *testing.T) []string {
	t.Helper()
	return strings.Fields(inguest.Run(t, "dpkg", "-L", "overlayzfs"))
}

// listRemains lists new paths that belong to the package or bear its name. Files that
// an engine leaves are the engine's.
func listRemains(t *testing.T, before map[string]bool, packed []string) (paths []string) {
	t.Helper()
	for path := range listPaths(t) {
		if !before[path] && (slices.Contains(packed, path) || strings.Contains(path, "overlayzfs")) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func requireContains(t *testing.T, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s has no %q:\n%s", what, part, text)
	}
}
