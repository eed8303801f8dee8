package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/versions"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// GatherHost reads the facts that are the same for every store of the host. root is the
// directory of /proc and /sys; tests pass one, others "".
func (f *Facts) GatherHost(root string) {
	f.Kernel = kernelRelease()
	f.Overlay = hasOverlay(root, f.Kernel)
	f.Module, f.ModuleErr = zfs.Version()
	f.Memory = Memory{Total: memTotal(root), ARCMax: arcMax(root)}
	f.SolidState = solidState(root)
}

func kernelRelease() string {
	name, err := versions.KernelRelease()
	if err != nil {
		return "unknown"
	}
	return name
}

// moduleDirs are the directories of kernel modules: NixOS has them elsewhere.
var moduleDirs = []string{"/lib/modules", "/usr/lib/modules", "/run/booted-system/kernel-modules/lib/modules"}

// hasOverlay reports whether the kernel has overlayfs, or a module of it exists. Where no
// modules are to be seen, as in a container, it believes that there is one: the probe shows it.
func hasOverlay(root, release string) bool {
	if strings.Contains(readText(root, "/proc/filesystems"), "\toverlay\n") {
		return true
	}
	seen := false
	for _, dir := range moduleDirs {
		dir = filepath.Join(root, dir, release)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		seen = true
		found, err := filepath.Glob(filepath.Join(dir, "kernel/fs/overlayfs/overlay.ko*"))
		if err == nil && len(found) > 0 || strings.Contains(readText("", filepath.Join(dir, "modules.builtin")), "/overlay.ko") {
			return true
		}
	}
	return !seen
}

func readText(root, path string) string {
	raw, err := os.ReadFile(root + path)
	if err != nil {
		return "" // a missing file counts as empty
	}
	return string(raw)
}

// memTotal returns the host's memory in bytes, from /proc/meminfo.
func memTotal(root string) uint64 {
	return readField(readText(root, "/proc/meminfo"), "MemTotal:", 1) << 10
}

// arcMax returns the maximum size of the ARC.
func arcMax(root string) uint64 {
	return readField(readText(root, "/proc/spl/kstat/zfs/arcstats"), "c_max", 2)
}

// readField returns the number in a column of the line that begins with a word.
func readField(table, word string, column int) uint64 {
	lines := bufio.NewScanner(strings.NewReader(table))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= column || fields[0] != word {
			continue
		}
		n, err := strconv.ParseUint(fields[column], 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// solidState reports whether the host has disks and none of them rotates. It does not
// know which of them belong to a pool.
func solidState(root string) bool {
	disks, err := filepath.Glob(root + "/sys/block/*/queue/rotational")
	if err != nil {
		return false
	}
	any := false
	for _, path := range disks {
		name := filepath.Base(filepath.Dir(filepath.Dir(path)))
		if strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "zd") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "sr") {
			continue
		}
		if strings.TrimSpace(readText("", path)) != "0" {
			return false
		}
		any = true
	}
	return any
}

// GatherDataset reads the facts of the dataset and its pool.
func (f *Facts) GatherDataset(z *zfs.Handle, dataset string) {
	f.Dataset = dataset
	if p, err := z.PoolStats(zfs.PoolOf(dataset)); err == nil {
		f.Pool = &p
	} else if !errors.Is(err, zfs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist) {
		f.DatasetErr = err
	}
	if f.Pool != nil && f.Pool.Suspended() {
		return
	}
	if f.Pool != nil {
		f.Devices, _ = z.PoolDevices(zfs.PoolOf(dataset)) // without them the remedy is a general one
	}
	d, err := z.DatasetStats(dataset)
	if err != nil {
		f.DatasetErr = err
		return
	}
	f.Stats = &d
}

// AllowsDeprecatedPlugins reports whether the environment of a running dockerd allows
// deprecated graphdriver plugins.
func AllowsDeprecatedPlugins(root string) bool {
	processes, err := filepath.Glob(root + "/proc/[0-9]*/comm")
	if err != nil {
		return false
	}
	for _, path := range processes {
		if strings.TrimSpace(readText("", path)) != "dockerd" {
			continue
		}
		for variable := range strings.SplitSeq(readText("", filepath.Join(filepath.Dir(path), "environ")), "\x00") {
			if value, ok := strings.CutPrefix(variable, "DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS="); ok && value != "" {
				return true
			}
		}
	}
	return false
}

// PackagedPlugin is the plugin's directory in the Debian package, for
// `docker plugin create`.
const PackagedPlugin = "/usr/share/overlayzfs/plugin"

// FindPackagedPlugin returns the directory of the plugin that a package installed, or "".
func FindPackagedPlugin(root string) string {
	if _, err := os.Stat(root + PackagedPlugin); err != nil {
		return ""
	}
	return PackagedPlugin
}

// ScratchPrefix is the prefix of the scratch datasets of RunProbe.
const ScratchPrefix = "overlayzfs-doctor-"

// FindScratch lists scratch datasets that an interrupted probe left.
func FindScratch(z *zfs.Handle, dataset string) (left []string, err error) {
	for child, err := range z.Children(dataset) {
		if err != nil {
			return left, fmt.Errorf("datasets below %s: %w", dataset, err)
		}
		if strings.HasPrefix(child.Name, dataset+"/"+ScratchPrefix) {
			left = append(left, child.Name)
		}
	}
	return left, nil
}
