//go:build vm

package overlayzfs

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// tarOf returns a layer tar of the headers; files hold their own name.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, h := range headers {
		body := ""
		if h.Typeflag == tar.TypeReg && !strings.Contains(h.Name, ".wh.") {
			body = h.Name
		}
		h.Size, h.ModTime = int64(len(body)), time.Unix(1e9, 0)
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, body)
		must(t, err)
	}
	must(t, w.Close())
	return raw.Bytes()
}

func aFile(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }

// stateOf describes a file of a mounted layer.
func stateOf(t *testing.T, dir, name string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(dir, name), &st))
	return fmt.Sprintf("%s %o %d:%d %d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec)
}

// TestImpliedDirectoriesAreTheParents applies a tar without entries for directories over two
// layers: the directories stay as the nearest layer has them.
func TestImpliedDirectoriesAreTheParents(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) {
		write(t, dir+"/srv/app/old", "old")
		must(t, os.Mkdir(dir+"/tmp", 0o755))
		must(t, os.Chmod(dir+"/tmp", 0o777|os.ModeSticky))
		must(t, os.Chmod(dir+"/srv/app", 0o755))
		must(t, os.Symlink("srv", dir+"/link"))
		must(t, os.Chtimes(dir+"/tmp", time.Unix(1e9, 0), time.Unix(1e9, 0)))
	})
	create(t, d, "middle", "base")
	change(t, d, "middle", func(dir string) {
		must(t, os.Chown(dir+"/srv/app", 1000, 1000))
		must(t, os.Chmod(dir+"/srv/app", 0o700))
		must(t, unix.Setxattr(dir+"/srv/app", "user.x", []byte("1"), 0))
		write(t, dir+"/etc/passwd", "root")
	})
	create(t, d, "top", "middle")
	hard := tar.Header{Typeflag: tar.TypeLink, Name: "etc/passwd-", Linkname: "etc/passwd", Mode: 0o600}
	size := apply(t, d, "top", "middle", tarOf(t, aFile("tmp/x"), aFile("srv/app/.wh.old"), aFile("link/y"), hard))
	if got, err := d.DiffSize(context.Background(), "top", "middle"); err != nil || got != size {
		t.Errorf("applied %d bytes, the diff has %d, %v", size, got, err)
	}
	change(t, d, "top", func(dir string) {
		for name, want := range map[string]string{
			"tmp": "tmp 41777 0:0 1000000000", "etc/passwd-": "etc/passwd- 100600 0:0 1000000000",
		} {
			if got := stateOf(t, dir, name); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if got := stateOf(t, dir, "srv/app"); !strings.HasPrefix(got, "srv/app 40700 1000:1000 ") {
			t.Error(got)
		}
		if n, err := unix.Getxattr(dir+"/srv/app", "user.x", make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("the attribute has %d bytes, %v", n, err)
		}
		if raw, err := os.ReadFile(dir + "/etc/passwd-"); err != nil || string(raw) != "root" {
			t.Errorf("the linked file holds %q, %v", raw, err)
		}
		if _, err := os.Lstat(dir + "/srv/app/old"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the deleted file: %v", err)
		}
	})
	if mounted, err := mountedLayers(d.home); err != nil || len(mounted) > 0 {
		t.Errorf("left mounted: %v, %v", mounted, err)
	}
}

// TestApplyOfNoBytes makes an empty layer, as the others do.
func TestApplyOfNoBytes(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	if size, err := d.ApplyDiff(context.Background(), "base", "", strings.NewReader("")); size != 0 || err != nil {
		t.Errorf("%d bytes, %v", size, err)
	}
	create(t, d, "top", "base")
	change(t, d, "top", func(string) {})

	create(t, d, "old", "base")
	d = crash(t, d)
	if _, err := d.ApplyDiff(context.Background(), "old", "base", strings.NewReader("")); !errors.Is(err, fault.Interrupted) {
		t.Errorf("a layer that an earlier process has made: %v", err)
	}
	remove(t, d, "old")
	create(t, d, "old", "base")
	if size, err := d.ApplyDiff(context.Background(), "old", "base", strings.NewReader("")); size != 0 || err != nil {
		t.Errorf("made again: %d bytes, %v", size, err)
	}
}

// acl is an access control list with an entry for group 100, as setxattr(2) takes it.
func acl(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, binary.Write(&b, binary.LittleEndian, uint32(2)))
	for _, e := range [][3]uint32{{1, 7, 1<<32 - 1}, {4, 5, 1<<32 - 1}, {8, 7, 100}, {16, 7, 1<<32 - 1}, {32, 5, 1<<32 - 1}} {
		must(t, binary.Write(&b, binary.LittleEndian, [2]uint16{uint16(e[0]), uint16(e[1])}))
		must(t, binary.Write(&b, binary.LittleEndian, e[2]))
	}
	return b.Bytes()
}

// passOn has all directories of the store pass on an ACL, a group and the set-group-ID bit.
func passOn(t *testing.T, d *Driver) {
	t.Helper()
	dirs, err := filepath.Glob(string(d.home) + "/.overlayzfs/*")
	must(t, err)
	for _, dir := range append(dirs, string(d.home), string(d.home)+"/.overlayzfs") {
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
			continue
		}
		must(t, unix.Setxattr(dir, fsat.DefaultACL, acl(t), 0))
		must(t, os.Chown(dir, 0, 33))
		must(t, os.Chmod(dir, 0o755|os.ModeSetgid))
	}
}

// TestNothingOfTheDatasetGetsIntoLayers checks layers of each kind: filled by a tar, by Fill,
// and written by a container, which copies up.
func TestNothingOfTheDatasetGetsIntoLayers(t *testing.T) {
	d := openStore(t)
	passOn(t, d)
	create(t, d, "base", "")
	dir := tar.Header{Typeflag: tar.TypeDir, Name: "data", Mode: 0o2775, Gid: 33}
	apply(t, d, "base", "", tarOf(t, dir, aFile("data/f"), aFile("implied/f"), aFile("up")))
	create(t, d, "filled", "base")
	must(t, d.Fill(context.Background(), "filled", func(dir *os.File) error {
		write(t, dir.Name()+"/new/f", "x")
		return nil
	}))
	create(t, d, "container", "base")
	change(t, d, "container", func(dir string) {
		write(t, dir+"/new/f", "x")
		must(t, os.Chmod(dir+"/up", 0o640))
		must(t, os.Chtimes(dir+"/implied/f", time.Unix(1, 0), time.Unix(1, 0)))
	})
	var got []string
	for _, id := range []string{"base", "filled", "container"} {
		root := d.home.layer(id).diff()
		must(t, filepath.Walk(root, func(path string, _ os.FileInfo, err error) error {
			must(t, err)
			for _, attr := range []string{fsat.AccessACL, fsat.DefaultACL} {
				if _, err := unix.Lgetxattr(path, attr, nil); !errors.Is(err, unix.ENODATA) {
					t.Errorf("%s has %s: %v", path, attr, err)
				}
			}
			var st unix.Stat_t
			must(t, unix.Lstat(path, &st))
			got = append(got, fmt.Sprintf("%s%s %o %d", id, strings.TrimPrefix(path, root), st.Mode&0o7777, st.Gid))
			return nil
		}))
	}
	want := []string{
		"base 755 0", "base/data 2775 33", "base/data/f 644 0", "base/implied 755 0", "base/implied/f 644 0", "base/up 644 0",
		"filled 755 0", "filled/new 755 0", "filled/new/f 644 0",
		"container 755 0", "container/implied 755 0", "container/implied/f 644 0", "container/new 755 0", "container/new/f 644 0", "container/up 640 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
