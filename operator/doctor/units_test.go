package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// debiansUnit is docker.service as distributions ship it.
	debiansUnit = "[Unit]\nDescription=Docker Application Container Engine\nAfter=network-online.target docker.socket \\\n  firewalld.service containerd.service\nWants=network-online.target\n\n[Service]\nType=notify\nExecStart=/usr/sbin/dockerd -H fd://\n"
	// setupsDropIn is that of `overlayzfs setup`, for a mount point that every host has.
	setupsDropIn = "# Written by `overlayzfs setup`.\n[Unit]\nAfter=zfs-import.target zfs-load-key.service zfs-mount.service\nRequiresMountsFor=/proc\nAssertPathIsMountPoint=/proc\n\n[Service]\nEnvironment=DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1\n"
)

// TestOrderAtBoot has hosts with all kinds of units and drop-ins.
func TestOrderAtBoot(t *testing.T) {
	const unit, dropIn = "usr/lib/systemd/system/docker.service", "etc/systemd/system/docker.service.d/"
	for name, tt := range map[string]struct {
		files    map[string]string
		severity Severity
		says     string
	}{
		"no systemd":   {map[string]string{}, OK, ""},
		"as installed": {map[string]string{unit: debiansUnit}, Note, "does not wait for zfs-mount.service"},
		"after setup":  {map[string]string{unit: debiansUnit, dropIn + "overlayzfs.conf": setupsDropIn}, OK, "docker.service starts after ZFS"},
		"NixOS": {map[string]string{"etc/systemd/system/docker.service": debiansUnit + "\n[Unit]\nAfter=zfs.target\nRequiresMountsFor=/proc/\n"}, OK,
			"docker.service starts after ZFS"},
		"ordered, and no assertion": {map[string]string{unit: debiansUnit, dropIn + "zfs.conf": "[Unit]\nAfter=zfs-mount.service\n"}, Note, "also when nothing is mounted on /proc"},
		"an assertion that fails": {map[string]string{unit: debiansUnit, dropIn + "overlayzfs.conf": setupsDropIn + "\n[Unit]\nAssertPathIsMountPoint=/proc/a\\x20b%%\n"}, Broken,
			"asserts that /proc/a b% is a mount point"},
		"one of another file": {map[string]string{unit: debiansUnit, dropIn + "overlayzfs.conf": setupsDropIn, "run/systemd/system/docker.service.d/z.conf": "[Unit]\nConditionPathIsMountPoint=/proc/none\n"}, Broken,
			"asserts that /proc/none is"},
		"a drop-in that is replaced": {map[string]string{unit: debiansUnit, dropIn + "overlayzfs.conf": setupsDropIn, "lib/systemd/system/docker.service.d/overlayzfs.conf": "[Unit]\nAssertPathIsMountPoint=/proc/none\n"}, OK, "starts after"},
		"an assertion of no mount":   {map[string]string{unit: debiansUnit, dropIn + "a.conf": setupsDropIn, dropIn + "b.conf": "[Unit]\nAssertPathIsMountPoint=!/proc/none\n"}, OK, "starts after"},
		"a drop-in without a unit":   {map[string]string{dropIn + "overlayzfs.conf": setupsDropIn}, OK, ""},
		"no unit file":               {map[string]string{unit: debiansUnit, dropIn + "x.conf": "[Unit\nAfter=x\n"}, Note, "x.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fit()
			f.RootMounted, f.Docker.Root = true, "/proc"
			f.Docker.Units = GatherUnits(host(t, tt.files), BootUnits...)
			found := checkUnits(f)
			if Worst(found) != tt.severity || len(found) > 0 && !strings.Contains(found[0].Found, tt.says) || len(found) == 0 && tt.says != "" {
				t.Errorf("%+v", found)
			}
			if Worst(Examine(f)) != tt.severity {
				t.Errorf("the host is %s", Worst(Examine(f)))
			}
		})
	}
}

// TestUnitOfTheSnapshotter is the one that the package ships, which needs no drop-in.
func TestUnitOfTheSnapshotter(t *testing.T) {
	raw, err := os.ReadFile("../../dist/systemd/overlayzfs-snapshotter.service")
	if err != nil {
		t.Fatal(err)
	}
	f := fit()
	f.Docker.Units = GatherUnits(host(t, map[string]string{"usr/lib/systemd/system/overlayzfs-snapshotter.service": string(raw)}), BootUnits...)
	if found := checkUnits(f); len(found) != 1 || found[0].Severity != OK {
		t.Errorf("%+v", found)
	}
}

// TestMaskedDropIns: a link to /dev/null hides a file of a package.
func TestMaskedDropIns(t *testing.T) {
	root := host(t, map[string]string{
		"lib/systemd/system/docker.service":           debiansUnit,
		"lib/systemd/system/docker.service.d/zz.conf": "[Unit]\nAssertPathIsMountPoint=/proc/none\n",
	})
	dir := filepath.Join(root, "etc/systemd/system/docker.service.d")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Symlink("/dev/null", filepath.Join(dir, "zz.conf"))); err != nil {
		t.Fatal(err)
	}
	units := GatherUnits(root, BootUnits...)
	if len(units) != 1 || len(units[0].NotMounted) > 0 || len(units[0].Files) != 2 || units[0].Err != nil {
		t.Errorf("%+v", units)
	}
	if !slices.Contains(units[0].After, "containerd.service") {
		t.Errorf("a continued line: %q", units[0].After)
	}
}
