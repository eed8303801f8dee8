package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// Unit is what the files of a systemd unit say about its start.
type Unit struct {
	Name  string
	Files []string // the unit's own and its drop-ins, in the order in which they count
	// After are the units that it starts after, and Mounts the directories that have to be
	// mounted for it to start.
	After, Mounts []string
	// NotMounted are those of Mounts that the unit asserts, and on which nothing is mounted.
	NotMounted []string
	Err        error // of reading the files
}

// unitDirs are systemd's directories of units. A file in an earlier one replaces those of its
// name in the later ones.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// GatherUnits reads the units that the host has of those named. root is the directory of the
// host's files; tests pass one.
func GatherUnits(root string, names ...string) (all []Unit) {
	for _, name := range names {
		u := Unit{Name: name, Files: findUnitFiles(root, name)}
		if len(u.Files) == 0 || !strings.HasSuffix(u.Files[0], "/"+name) {
			continue // not installed
		}
		for _, file := range u.Files {
			u.Err = errors.Join(u.Err, u.read(file))
		}
		all = append(all, u)
	}
	return all
}

// findUnitFiles returns the files of a unit. Drop-ins count in the order of their names.
func findUnitFiles(root, name string) (files []string) {
	dropIns := map[string]string{}
	for _, dir := range unitDirs {
		file := filepath.Join(root, dir, name)
		if len(files) == 0 && exists(file) {
			files = append(files, file)
		}
		found, err := filepath.Glob(filepath.Join(root, dir, name+".d", "*.conf"))
		if err != nil {
			continue
		}
		for _, path := range found {
			if base := filepath.Base(path); dropIns[base] == "" {
				dropIns[base] = path
			}
		}
	}
	var names []string
	for base := range dropIns {
		names = append(names, base)
	}
	slices.Sort(names)
	for _, base := range names {
		files = append(files, dropIns[base])
	}
	return files
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// read adds what one file says. An empty file, or a link to /dev/null, says nothing.
func (u *Unit) read(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	options, err := unit.DeserializeOptions(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, o := range options {
		if o.Section == "Unit" {
			u.add(o.Name, o.Value)
		}
	}
	return nil
}

func (u *Unit) add(name, value string) {
	switch name {
	case "After":
		u.After = append(u.After, strings.Fields(value)...)
	case "RequiresMountsFor":
		for _, path := range strings.Fields(value) {
			u.Mounts = append(u.Mounts, unquotePath(path))
		}
	case "AssertPathIsMountPoint", "ConditionPathIsMountPoint":
		path := unquotePath(strings.TrimPrefix(value, "|"))
		if path == "" || strings.HasPrefix(path, "!") {
			return
		}
		u.Mounts = append(u.Mounts, path)
		if !isMountPoint(path) {
			u.NotMounted = append(u.NotMounted, path)
		}
	}
}

// unquotePath takes back what unit files do to a path.
func unquotePath(path string) string {
	return strings.NewReplacer(`\\`, `\`, "%%", "%", `\x20`, " ").Replace(path)
}

func isMountPoint(path string) bool {
	on, err := mount.ListAt(realPath(path))
	return err != nil || len(on) > 0 // unknown counts as mounted
}

// realPath returns a path without symbolic links, as far as it exists.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// startsAfterZFS reports whether the unit starts after datasets are mounted.
func (u Unit) startsAfterZFS() bool {
	return slices.ContainsFunc(u.After, func(name string) bool { return name == "zfs-mount.service" || name == "zfs.target" })
}

// checkUnits checks the order at boot. Without it dockerd begins an empty data-root, below
// the directory on which the dataset is mounted later.
func checkUnits(f Facts) (found []Finding) {
	const check = "boot order"
	for _, u := range f.Docker.Units {
		files := strings.Join(u.Files, " ")
		switch {
		case u.Err != nil:
			found = append(found, Finding{check, Note, u.Err.Error(), "what orders the start of " + u.Name + " is not known", "systemd-analyze verify " + u.Name})
		case len(u.NotMounted) > 0:
			found = append(found, Finding{check, Broken, u.Name + " asserts that " + u.NotMounted[0] + " is a mount point, and nothing is mounted there", "the unit does not start",
				"zfs mount -a    # or, where the directory is no dataset's any more, take the line out: grep -l MountPoint " + files})
		case !u.startsAfterZFS():
			found = append(found, Finding{check, Note, u.Name + " does not wait for zfs-mount.service", "at boot it may start before its datasets are mounted", setupCommand(f)})
		case f.RootMounted && u.Name == dockerUnit && !u.requires(f.Docker.Root):
			found = append(found, Finding{check, Note, u.Name + " starts also when nothing is mounted on " + f.Docker.Root,
				"after a boot without the pool or its key dockerd begins an empty data-root, without images and volumes", setupCommand(f)})
		default:
			found = append(found, okFinding(check, u.Name+" starts after ZFS has mounted its datasets")...)
		}
	}
	return found
}

// dockerUnit is the unit of dockerd, whose data-root is a dataset.
const dockerUnit = "docker.service"

// BootUnits are the units that need datasets.
var BootUnits = []string{dockerUnit, "overlayzfs-snapshotter.service"}

func (u Unit) requires(dir string) bool {
	return slices.ContainsFunc(u.Mounts, func(path string) bool { return path == dir || realPath(path) == realPath(dir) })
}
