//go:build vm

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// TestSetupBelowAnyParent makes datasets below parents that are set up for something else. A
// store opens there, and nothing of the parent's use is left.
func TestSetupBelowAnyParent(t *testing.T) {
	const pool = "tank/parents"
	key := t.TempDir() + "/key"
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]string{
		"root-on-zfs": "-o normalization=formD -o acltype=posix -o xattr=sa -o setuid=off -o exec=off -o devices=off",
		"utf8only":    "-o utf8only=on",
		"smb":         "-o casesensitivity=insensitive -o acltype=nfsv4 -o aclmode=restricted -o snapdir=visible",
		"mixed":       "-o casesensitivity=mixed -o dnodesize=legacy -o xattr=dir -o atime=on -o compression=off",
		"readonly":    "-o readonly=on -o recordsize=4K -o sync=always",
		"limits":      "-o quota=2G -o refquota=1G -o canmount=off",
		"encrypted":   "-o encryption=on -o keyformat=raw -o keylocation=file://" + key,
	} {
		t.Run(name, func(t *testing.T) {
			root, config := newHost(t, pool)
			shell(t, "zfs create -o mountpoint=none "+options+" "+pool)
			args := []string{"setup", pool + "/docker", "--way", "plugin", "--root", root, "--config-file", config, "--yes"}
			runCommand(t, 0, "", args...)
			for _, dataset := range []string{"docker", "docker/layers", "docker/volumes"} {
				got := shell(t, "zfs get -Hp -o value normalization,utf8only,casesensitivity,snapdir,readonly,exec,setuid,devices,acltype,aclmode,atime,recordsize,canmount,dnodesize,compression "+pool+"/"+dataset)
				if want := "none off sensitive hidden off sa sa sa posix discard off 131072 sa auto lz4"; strings.ReplaceAll(strings.Join(strings.Fields(got), " "), " on", " sa") != want {
					t.Errorf("%s: %s", dataset, got)
				}
			}
			if got := shell(t, "zfs get -H -o value sync "+pool+"/docker/layers"); got != "standard" {
				t.Errorf("sync=%s", got)
			}
			if out := runCommand(t, 0, "", args...); !strings.Contains(out, "Nothing to do before the next steps") {
				t.Errorf("a second time:\n%s", out)
			}
			tryStore(t, pool+"/docker/layers")
			shell(t, "umount "+root+"/volumes "+root)
		})
	}
}

// tryStore opens a store as the plugin does, which tries all that layers need.
func tryStore(t *testing.T, dataset string) {
	t.Helper()
	home := t.TempDir()
	d, err := overlayzfs.Open(t.Context(), home, overlayzfs.Options{Dataset: dataset})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestSetupWithoutTheKey is refused before anything is made.
func TestSetupWithoutTheKey(t *testing.T) {
	const parent = "tank/locked"
	root, config := newHost(t, parent)
	key := t.TempDir() + "/key"
	shell(t, "head -c 32 /dev/zero >"+key+"; zfs create -o mountpoint=none -o encryption=on -o keyformat=raw -o keylocation=file://"+key+" "+parent+"; zfs unload-key "+parent)
	args := []string{"setup", parent + "/docker", "--way", "plugin", "--root", root, "--config-file", config, "--yes"}
	if out := runCommand(t, exitRefused, "", args...); !strings.Contains(out, "zfs load-key "+parent) || there(parent+"/docker") {
		t.Errorf("%s", out)
	}
	args[1] = parent + "/missing/docker"
	shell(t, "zfs load-key "+parent)
	if out := runCommand(t, exitRefused, "", args...); !strings.Contains(out, "zfs create -p -o mountpoint=none "+parent+"/missing") {
		t.Errorf("%s", out)
	}
	tool(t, "create", "-o", "mountpoint=legacy", "-o", "normalization=formD", parent+"/old")
	if out := runCommand(t, exitRefused, "", append([]string{"setup", "--dataset", parent + "/old"}, args[2:]...)...); !strings.Contains(out, "only a new dataset") {
		t.Errorf("%s", out)
	}
}
