package doctor

import (
	"strings"
	"testing"
)

// TestHostsOfTheWorld are fit: systems as their distributions ship them, with an engine that
// fits. No finding may be worse than a note, or monitoring would never be quiet.
func TestHostsOfTheWorld(t *testing.T) {
	for name, tt := range map[string]struct {
		kernel, module, docker string
		worst                  Severity
	}{
		"Debian 12 with backports":           {"6.1.0-41-amd64", "2.3.2-1~bpo12+2", "20.10.24+dfsg1", OK},
		"Debian 12, backports of a year ago": {"6.1.0-28-amd64", "2.2.7-1~bpo12+1", "20.10.24+dfsg1", Note},
		"Debian 12, kernel of backports":     {"6.12.38+deb12-amd64", "2.3.2-1~bpo12+2", "26.1.5", OK},
		"Debian 13":                          {"6.12.57+deb13-amd64", "2.3.2-2", "26.1.5+dfsg1", OK},
		"Ubuntu 24.04":                       {"6.8.0-88-generic", "2.2.2-0ubuntu9.4", "26.1.3", Note},
		"Ubuntu 24.04, HWE 6.11":             {"6.11.0-29-generic", "2.2.6-1ubuntu1.2", "27.5.1", Note},
		"Ubuntu 24.04, HWE 6.14":             {"6.14.0-37-generic", "2.3.1-1ubuntu2", "28.2.2", Note},
		"Ubuntu 24.04, HWE 6.17":             {"6.17.0-14-generic", "2.3.4-1ubuntu2", "29.1.3", OK},
		"Ubuntu 26.04":                       {"7.0.0-12-generic", "2.4.1-1ubuntu5", "29.1.3", OK},
		"Proxmox VE 8":                       {"6.8.12-16-pve", "2.2.8-pve1", "26.1.5+dfsg1", Note},
		"Proxmox VE 9":                       {"6.14.11-4-pve", "2.3.4-pve1", "26.1.5+dfsg1", OK},
		"Proxmox VE 9.1":                     {"6.17.2-2-pve", "2.3.4-pve1", "29.1.3", OK},
		"NixOS 25.05":                        {"6.12.63", "2.3.5-1", "27.5.1", OK},
		"NixOS 25.11":                        {"6.12.63", "2.3.5-1", "28.5.2", OK},
		"Fedora, upstream's packages":        {"6.17.11-300.fc43.x86_64", "2.3.5-1", "29.1.3", OK},
		"Rocky 9, upstream's packages":       {"5.14.0-611.16.1.el9_7.x86_64", "2.2.9-1", "29.1.3", Note},
		"Raspberry Pi OS":                    {"6.12.47+rpt-rpi-v8", "2.3.2-2", "26.1.5+dfsg1", OK},
		"Arch":                               {"6.18.2-arch2-1", "2.4.0-1", "29.1.3", OK},
	} {
		t.Run(name, func(t *testing.T) {
			f := fit()
			f.Kernel, f.Module = tt.kernel, tt.module
			f.Docker.Root, f.RootMounted = "/proc", true
			f.Docker.Units = GatherUnits(host(t, unitsOf(name)), BootUnits...)
			if len(f.Docker.Units) == 0 {
				t.Error("no unit is found")
			}
			f.Docker.Engine.Version = tt.docker
			if isModern(f.Docker) {
				f.Docker.Config.Features = map[string]bool{"containerd-snapshotter": true}
				f.Docker.Config.Experimental, f.Docker.Plugin = false, nil
			} else {
				f.Docker.Engine.Deprecated = true
			}
			for _, found := range Examine(f) {
				if found.Severity > tt.worst {
					t.Errorf("%+v", found)
				}
			}
			if got := Worst(Examine(f)); got != tt.worst {
				t.Errorf("the worst is %s, want %s", got, tt.worst)
			}
		})
	}
}

// TestUpstreamOnOtherKernels is judged by upstream's numbers: only a distribution patches.
func TestUpstreamOnOtherKernels(t *testing.T) {
	for _, module := range []string{"2.2.2-1", "2.3.4-1"} {
		f := fit()
		f.Kernel, f.Module = "6.19.0-1-generic", module
		if got := Worst(Examine(f)); got != Warning {
			t.Errorf("%s: %s", module, got)
		}
	}
}

// unitsOf returns the files of dockerd's unit where the distribution has them, and the drop-in of
// setup. NixOS generates a unit from its configuration.
func unitsOf(distribution string) map[string]string {
	const dropIn = "etc/systemd/system/docker.service.d/overlayzfs.conf"
	switch {
	case strings.HasPrefix(distribution, "NixOS"):
		return map[string]string{"etc/systemd/system/docker.service": debiansUnit + "\n[Unit]\nAfter=zfs-mount.service\nAssertPathIsMountPoint=/proc\n"}
	case strings.HasPrefix(distribution, "Debian 12"):
		return map[string]string{"lib/systemd/system/docker.service": debiansUnit, dropIn: setupsDropIn}
	}
	return map[string]string{"usr/lib/systemd/system/docker.service": debiansUnit, dropIn: setupsDropIn}
}
