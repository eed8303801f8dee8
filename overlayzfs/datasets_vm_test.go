//go:build vm

package overlayzfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// TestDatasetsOfAllKinds has layers on datasets with the properties that hosts give them, often
// by inheritance.
func TestDatasetsOfAllKinds(t *testing.T) {
	for name, properties := range map[string]string{
		"attributes in directories": "xattr=dir",
		"no ACLs":                   "acltype=off",
		"ACLs of NFS":               "acltype=nfsv4 aclinherit=passthrough",
		"small dnodes":              "dnodesize=legacy",
		"hardened":                  "exec=off setuid=off devices=off",
		"snapshots shown":           "snapdir=visible",
		"access times":              "atime=on relatime=off",
		"small records twice":       "recordsize=4K copies=2 dedup=on checksum=sha256",
		"little cache":              "primarycache=metadata secondarycache=none logbias=throughput",
		"every write synced":        "sync=always",
		"no compression":            "compression=off",
		"not mounted by boots":      "canmount=noauto mountpoint=/run/never",
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions
			o.Dataset = dataset(t, "kind")
			zfsCommand(t, append(append([]string{"set"}, strings.Fields(properties)...), o.Dataset)...)
			d := openStoreIn(t, filepath.Join(plainDir(t), "home"), o)
			zfsCommand(t, "snapshot", o.Dataset+"@theirs")
			liveOn(t, d, o)
		})
	}
}

// programTar is an image's layer with what file systems treat in ways of their own: programs,
// programs that change the user, devices, attributes and ACLs.
func programTar(t *testing.T) []byte {
	t.Helper()
	raw, err := os.ReadFile("/bin/busybox")
	must(t, err)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: "busybox", Mode: 0o4755, Size: int64(len(raw)), Typeflag: tar.TypeReg},
		{Name: "null", Mode: 0o666, Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "marked", Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.xattr.user.mark": strings.Repeat("m", 600), "SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
			"SCHILY.xattr.system.posix_acl_access": "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x07\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff",
		}},
		{Name: "tree/", Mode: 0o755, Typeflag: tar.TypeDir}, {Name: "tree/a", Mode: 0o644, Typeflag: tar.TypeReg}, {Name: "tree/b", Mode: 0o644, Typeflag: tar.TypeReg},
	} {
		must(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write(raw)
			must(t, err)
		}
	}
	must(t, w.Close())
	return buf.Bytes()
}

// liveOn unpacks an image, and has a container and a limited one run on it, over a crash.
func liveOn(t *testing.T, d *Driver, o Options) {
	t.Helper()
	create(t, d, "base", "")
	apply(t, d, "base", "", programTar(t))
	create(t, d, "box", "base")
	limited(t, d, "limited", "size=50M")
	for _, id := range []string{"box", "limited"} {
		change(t, d, id, func(dir string) { useLikeAProgram(t, dir) })
	}
	d = crashTo(t, d, o)
	for _, id := range []string{"box", "limited"} {
		want := []string{"C /busybox", "C /tree", "A /tree/c", "D /tree/a", "D /tree/b"}
		slices.Sort(want)
		got := changesOf(t, d, id, "base")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("changes of %s: %q, want %q", id, got, want)
		}
		change(t, d, id, func(dir string) {
			if names := list(t, dir+"/tree"); !slices.Equal(names, []string{"c"}) {
				t.Errorf("the directory of %s holds %q", id, names)
			}
		})
	}
	diff := readAll(t, d, "box", "base")
	create(t, d, "image", "base")
	apply(t, d, "image", "base", diff)
	for _, id := range []string{"image", "limited", "box", "base"} {
		remove(t, d, id)
		if exists(t, d, id) {
			t.Errorf("%s is left", id)
		}
	}
	// The first store's end unmounts the dataset, which this one must not use any more.
	must(t, errors.Join(d.WaitReaper(t.Context()), d.limits.DropSpares()))
}

// useLikeAProgram runs a program of the image, uses a device, and changes files.
func useLikeAProgram(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command(dir+"/busybox", "true").CombinedOutput(); err != nil {
		t.Errorf("a program: %v\n%s", err, out)
	}
	must(t, os.WriteFile(dir+"/null", []byte("x"), 0))
	fi, err := os.Stat(dir + "/busybox")
	must(t, err)
	if fi.Mode()&os.ModeSetuid == 0 {
		t.Errorf("a program's mode is %v", fi.Mode())
	}
	for name, want := range map[string]int{"user.mark": 600, "security.capability": 20} {
		if n, err := unix.Getxattr(dir+"/marked", name, nil); err != nil || n != want {
			t.Errorf("%s has %d bytes, %v", name, n, err)
		}
	}
	f, err := os.OpenFile(dir+"/busybox", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("changed")
	must(t, errors.Join(err, f.Close()))
	must(t, os.RemoveAll(dir+"/tree"))
	write(t, dir+"/tree/c", "new")
}

// TestADatasetThatIsMountedElsewhereToo, as `zfs mount -a` does with one that has a mountpoint.
func TestADatasetThatIsMountedElsewhereToo(t *testing.T) {
	o := testOptions
	o.Dataset = dataset(t, "twice")
	elsewhere := plainDir(t)
	must(t, mountBy(o.Dataset, elsewhere))
	unmountAfter(t, elsewhere)
	home := filepath.Join(plainDir(t), "home")
	d := openStoreIn(t, home, o)
	liveOn(t, d, o)
	must(t, mount.Mount{Type: "tmpfs", Source: "over", Target: elsewhere}.Do())
	create(t, d, "after", "")
	remove(t, d, "after")
	must(t, mount.Unmount(elsewhere))
	if infos, err := mount.ListAt(elsewhere); err != nil || len(infos) != 1 {
		t.Errorf("the other mount: %v, %v", infos, err)
	}
}

// mountBy mounts a dataset as mount(8) does.
func mountBy(dataset, dir string) error {
	return exec.Command("mount", "-i", "-t", "zfs", dataset, dir).Run()
}

// TestAStoreWithoutItsKey says which key is to be loaded. The key is that of a dataset above.
func TestAStoreWithoutItsKey(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600))
	root := dataset(t, "secret", "encryption=on", "keyformat=raw", "keylocation=file://"+key)
	o := testOptions
	o.Dataset = root + "/layers"
	zfsCommand(t, "create", "-o", "mountpoint=legacy", o.Dataset)
	home := filepath.Join(plainDir(t), "home")
	d, err := Open(t.Context(), home, o)
	must(t, err)
	create(t, d, "kept", "")
	closeStore(t, d)
	zfsCommand(t, "unload-key", root)
	_, err = Open(t.Context(), home, o)
	if !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "zfs load-key $(zfs get -Ho value encryptionroot "+o.Dataset+")") {
		t.Errorf("without the key: %v", err)
	}
	requireSource(t, home, "")
	if out, err := exec.Command("sh", "-c", "zfs load-key $(zfs get -Ho value encryptionroot "+o.Dataset+")").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d = openStoreIn(t, home, o)
	if !exists(t, d, "kept") {
		t.Error("the layer is gone")
	}
	remove(t, d, "kept")
	liveOn(t, d, o)
}

// TestAPoolUnderAnotherName: limited layers have datasets, and records on the dataset above.
func TestAPoolUnderAnotherName(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	must(t, errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 256<<20)))
	zpoolCommand(t, "create", "-m", "none", "-O", "compression=lz4", "firstname", disk)
	name := "firstname"
	t.Cleanup(func() { zpoolCommand(t, "destroy", name) })
	zfsCommand(t, "create", "-o", "mountpoint=legacy", "firstname/layers")
	home := filepath.Join(plainDir(t), "home")
	o := testOptions
	o.Dataset = "firstname/layers"
	d, err := Open(t.Context(), home, o)
	must(t, err)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/old", "old") })
	limited(t, d, "box", "size=20M")
	change(t, d, "box", func(dir string) { write(t, dir+"/new", "new") })
	closeStore(t, d)
	zpoolCommand(t, "export", "firstname")
	_, err = Open(t.Context(), home, o)
	if !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "zpool import firstname") {
		t.Errorf("without the pool: %v", err)
	}
	zpoolCommand(t, "import", "-d", disk, "firstname", "secondname")
	name = "secondname"
	o.Dataset = "secondname/layers"
	d = openStoreIn(t, home, o)
	change(t, d, "box", func(dir string) {
		if raw, err := os.ReadFile(dir + "/new"); err != nil || string(raw) != "new" {
			t.Errorf("the limited layer holds %q, %v", raw, err)
		}
		if _, err := fillUp(t, dir+"/full"); !errors.Is(err, unix.EDQUOT) {
			t.Errorf("its limit: %v", err)
		}
	})
	remove(t, d, "box")
	if left := children(t, d); len(left) > 0 {
		t.Errorf("datasets are left: %q", left)
	}
	remove(t, d, "base")
}
