package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// host is a directory with the files of /proc and /sys that are read.
func host(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestMemory(t *testing.T) {
	root := host(t, map[string]string{
		"proc/meminfo":                "MemTotal:        16303284 kB\nMemFree: 1 kB\n",
		"proc/spl/kstat/zfs/arcstats": "name type data\nc 4 100\nc_max                           4    8347279360\n",
	})
	if got := memTotal(root); got != 16303284<<10 {
		t.Errorf("memory %d", got)
	}
	if got := arcMax(root); got != 8347279360 {
		t.Errorf("ARC %d", got)
	}
	if got := arcMax(t.TempDir()); got != 0 {
		t.Errorf("without ZFS %d", got)
	}
}

func TestPackaged(t *testing.T) {
	if got := FindPackagedPlugin(host(t, map[string]string{PackagedPlugin + "/config.json": "{}"})); got != PackagedPlugin {
		t.Errorf("it is in %q", got)
	}
	if got := FindPackagedPlugin(t.TempDir()); got != "" {
		t.Errorf("without a package it is in %q", got)
	}
}

func TestOverlay(t *testing.T) {
	for name, root := range map[string]string{
		"loaded":         host(t, map[string]string{"proc/filesystems": "nodev\tproc\nnodev\toverlay\n"}),
		"a module":       host(t, map[string]string{"proc/filesystems": "nodev\tproc\n", "lib/modules/6.1.0/kernel/fs/overlayfs/overlay.ko.xz": ""}),
		"of Fedora":      host(t, map[string]string{"usr/lib/modules/6.1.0/kernel/fs/overlayfs/overlay.ko.xz": ""}),
		"of NixOS":       host(t, map[string]string{"run/booted-system/kernel-modules/lib/modules/6.1.0/kernel/fs/overlayfs/overlay.ko.xz": ""}),
		"built in":       host(t, map[string]string{"lib/modules/6.1.0/modules.builtin": "kernel/fs/overlayfs/overlay.ko\n"}),
		"nothing to see": host(t, map[string]string{"proc/filesystems": "nodev\tproc\n", "lib/modules/6.5.0/modules.dep": ""}),
	} {
		if !hasOverlay(root, "6.1.0") {
			t.Error(name)
		}
	}
	if hasOverlay(host(t, map[string]string{"proc/filesystems": "nodev\tfuse.overlay\n", "lib/modules/6.1.0/modules.dep": ""}), "6.1.0") {
		t.Error("where there is none")
	}
}

func TestDisks(t *testing.T) {
	disks := func(files map[string]string) bool {
		content := map[string]string{}
		for name, rotates := range files {
			content["sys/block/"+name+"/queue/rotational"] = rotates + "\n"
		}
		return solidState(host(t, content))
	}
	if !disks(map[string]string{"nvme0n1": "0", "zd0": "1", "loop0": "1"}) {
		t.Error("a solid-state disk, and what is none")
	}
	if disks(map[string]string{"nvme0n1": "0", "sda": "1"}) || disks(nil) {
		t.Error("one that rotates, or none at all")
	}
}

func TestDeprecatedPlugins(t *testing.T) {
	const variable = "DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1"
	for environ, want := range map[string]bool{"HOME=/\x00" + variable + "\x00": true, "HOME=/\x00": false} {
		root := host(t, map[string]string{"proc/7/comm": "dockerd\n", "proc/7/environ": environ, "proc/8/comm": "sh\n", "proc/8/environ": variable})
		if got := AllowsDeprecatedPlugins(root); got != want {
			t.Errorf("%q: %v", environ, got)
		}
	}
}
