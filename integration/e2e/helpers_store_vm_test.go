//go:build vm

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listLayers lists the store's layers. It fails unless each layer has its short link
// and each short link its layer.
func listLayers(home string) ([]string, error) {
	entries, err := os.ReadDir(home)
	if err != nil {
		return nil, err
	}
	var layers []string
	for _, entry := range entries {
		if name := entry.Name(); name != "l" && name != ".overlayzfs" {
			layers = append(layers, name)
		}
	}
	links, err := os.ReadDir(filepath.Join(home, "l"))
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if _, err := os.Stat(filepath.Join(home, "l", link.Name())); err != nil {
			return nil, err
		}
	}
	if len(links) != len(layers) {
		return nil, fmt.Errorf("%d short links for %d layers", len(links), len(layers))
	}
	return layers, nil
}

// checkNothingUnfinished returns an error while the store holds an unfinished layer.
func checkNothingUnfinished(home string) error {
	if err := awaitReaper(home); err != nil {
		return err
	}
	var left []string
	for _, dir := range []string{"new", "apply", "building"} {
		entries, err := os.ReadDir(filepath.Join(home, ".overlayzfs", dir))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			left = append(left, dir+"/"+entry.Name())
		}
	}
	return compareLists(left, nil)
}

// awaitReaper waits until the files of removed layers are deleted. The driver deletes
// them in the background, after Remove has answered.
func awaitReaper(store string) error {
	return poll(func() error {
		left, err := os.ReadDir(filepath.Join(store, ".overlayzfs", "trash"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d removed layers still have files", len(left))
		}
		return err
	})
}

// listUnpackedFiles lists the files of diffs that are being unpacked, and those of the
// bulk image wherever a driver puts them.
func listUnpackedFiles(home string) []string {
	var all []string
	for _, pattern := range []string{".overlayzfs/apply/*/*", "*/diff/bulk-*"} {
		found, _ := filepath.Glob(filepath.Join(home, pattern)) // the pattern is well formed
		all = append(all, found...)
	}
	return all
}

// listFiles describes every file of a dataset, which it mounts for that.
func listFiles(t testing.TB, dataset string) []string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "manifest-")
	must(t, err)
	run(t, "mount", "-t", "zfs", dataset, dir)
	defer func() {
		run(t, "umount", dir)
		must(t, os.Remove(dir))
	}()
	var lines []string
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir)
		if strings.HasPrefix(name, "/.overlayzfs/new/") {
			return fs.SkipDir // a starting plugin probes features here; checkNothingUnfinished looks
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size, changed := info.Size(), info.ModTime().UnixNano()
		if info.IsDir() {
			size = 0
			if name == "" || strings.HasPrefix(name, "/.overlayzfs/") {
				changed = 0 // a starting plugin probes features here
			}
		}
		lines = append(lines, fmt.Sprintf("%s %v %d %d", name, info.Mode(), size, changed))
		return nil
	})
	must(t, err)
	return lines
}

// requireFilesUnchanged fails the test when the dataset's files differ from an earlier
// list.
func requireFilesUnchanged(t testing.TB, dataset string, before []string) {
	t.Helper()
	now := listFiles(t, dataset)
	for _, line := range before {
		if !slices.Contains(now, line) {
			t.Errorf("%s: missing or changed: %s", dataset, line)
		}
	}
	for _, line := range now {
		if !slices.Contains(before, line) {
			t.Errorf("%s: new or changed: %s", dataset, line)
		}
	}
}
