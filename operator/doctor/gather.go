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

// GatherHost reads what is the same for every store of the host. root is where its
// /proc and /sys are; "" outside of tests.
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

// hasOverlay looks for overlayfs in the kernel, or for its module.
func hasOverlay(root, release string) bool {
	if strings.Contains(readText(root, "/proc/filesystems"), "\toverlay\n") {
		return true
	}
	found, err := filepath.Glob(filepath.Join(root, "/lib/modules", release, "kernel/fs/overlayfs/overlay.ko*"))
	return err == nil && len(found) > 0
}

func readText(root, path string) string {
	raw, err := os.ReadFile(root + path)
	if err != nil {
		return "" // what is not there says nothing
	}
	return string(raw)
}

// memTotal is /proc/meminfo's, in bytes.
func memTotal(root string) uint64 {
	return readField(readText(root, "/proc/meminfo"), "MemTotal:", 1) << 10
}

// arcMax is the most that ZFS's cache takes.
func arcMax(root string) uint64 {
	return readField(readText(root, "/proc/spl/kstat/zfs/arcstats"), "c_max", 2)
}

// readField is the number in a column of the line that begins with a word.
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

// solidState reports whether the host has disks, and none rotates. Which of them
// a pool has is not known here.
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

// GatherDataset asks ZFS about the dataset and its pool.
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

// AllowsDeprecatedPlugins reports whether a dockerd that runs may take graphdriver
// plugins though they are deprecated: its environment says so.
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

// packagedPath is where the Debian package has the plugin for `docker plugin create`.
const packagedPath = "/usr/share/overlayzfs/plugin"

// FindPackagedPlugin is where a package has put the plugin; empty where none has.
func FindPackagedPlugin(root string) string {
	if _, err := os.Stat(root + packagedPath); err != nil {
		return ""
	}
	return packagedPath
}

// ScratchPrefix begins the names of datasets that an examination makes.
const ScratchPrefix = "overlayzfs-doctor-"

// FindScratch lists datasets that an earlier examination left.
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
