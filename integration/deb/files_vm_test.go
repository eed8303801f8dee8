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

// watched are the directories that a package may put something into.
var watched = []string{"/etc", "/usr", "/opt", "/var/lib", "/run"}

// others change by themselves while a package is installed or an engine runs.
var others = []string{"/var/lib/dpkg", "/var/lib/docker", "/var/lib/containerd", "/run/docker", "/run/containerd", "/run/lock"}

// listed are all paths there are.
func listed(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, dir := range watched {
		inguest.Must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case slices.Contains(others, path):
				return fs.SkipDir
			}
			all[path] = true
			return nil
		}))
	}
	return all
}

// added are the paths that are there now and were not.
func added(t *testing.T, before map[string]bool) (paths []string) {
	t.Helper()
	for path := range listed(t) {
		if !before[path] {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func contains(t *testing.T, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s has no %q:\n%s", what, part, text)
	}
}
