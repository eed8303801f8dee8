package migrate

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/verify"
)

// tarOfHeaders is a tar of the headers; files have their name as content.
func (h host) tarOfHeaders(headers ...tar.Header) []byte {
	h.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, header := range headers {
		header.Uid, header.Gid = os.Getuid(), os.Getgid()
		if header.Typeflag == tar.TypeReg {
			header.Size = int64(len(header.Name))
		}
		h.no(w.WriteHeader(&header))
		if header.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(header.Name))
			h.no(err)
		}
	}
	h.no(w.Close())
	return out.Bytes()
}

// sparseTar is a tar of a sparse file in GNU's old form, with "last" after the hole.
func (h host) sparseTar(name string, at int) []byte {
	h.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	h.no(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 4, Uid: os.Getuid(), Gid: os.Getgid(), Format: tar.FormatGNU}))
	_, err := w.Write([]byte("last"))
	h.no(err)
	h.no(w.Close())
	b := out.Bytes()
	b[156] = tar.TypeGNUSparse
	copy(b[386:], fmt.Sprintf("%011o", at))
	copy(b[398:], fmt.Sprintf("%011o", 4))
	copy(b[483:], fmt.Sprintf("%011o", at+4))
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// newOddHost returns a data-root of the driver vfs with an image as vfs unpacks it: a layer
// whose files lie below a symlink and in directories that the tar does not name, one with a
// hard link to a file of the layer below, and a sparse file.
func newOddHost(t *testing.T) host {
	h := newHost(t, "vfs")
	dir := func(name string, mode int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}
	}
	reg := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	base := h.layerOf("", "base", h.tarOfHeaders(dir("tmp/", 0o1777), dir("srv/", 0o755), dir("srv/app/", 0o750), dir("var/", 0o755), dir("var/data/", 0o755), reg("var/data/kept"),
		dir("etc/", 0o755), reg("etc/passwd"), tar.Header{Typeflag: tar.TypeSymlink, Name: "data", Linkname: "var/data"}))
	implied := h.layerOf(base, "implied", h.tarOfHeaders(reg("tmp/x"), reg("srv/app/y"), reg("data/z")))
	link := h.layerOf(implied, "link", h.tarOfHeaders(tar.Header{Typeflag: tar.TypeLink, Name: "etc/passwd-", Linkname: "etc/passwd", Mode: 0o644}))
	sparse := h.layerOf(link, "sparse", h.sparseTar("var/log", 8192))
	h.image("x:latest", base, implied, link, sparse)
	var below string
	for _, layer := range []string{"base", "implied", "link", "sparse"} {
		at := h.path("vfs/dir/" + layer)
		if below == "" {
			h.no(os.MkdirAll(at+"/srv/app", 0o755))
			h.no(os.MkdirAll(at+"/var/data", 0o755))
			h.no(os.MkdirAll(at+"/etc", 0o755))
			h.no(os.Mkdir(at+"/tmp", 0o755))
			h.no(os.Chmod(at+"/tmp", 0o777|os.ModeSticky))
			h.no(os.Chmod(at+"/srv/app", 0o750))
			h.no(os.Symlink("var/data", at+"/data"))
			h.no(os.WriteFile(at+"/var/data/kept", []byte("var/data/kept"), 0o644))
			h.no(os.WriteFile(at+"/etc/passwd", []byte("etc/passwd"), 0o644))
		} else {
			h.copyTreeOf(at, below)
		}
		switch layer {
		case "implied":
			h.no(os.WriteFile(at+"/tmp/x", []byte("tmp/x"), 0o644))
			h.no(os.WriteFile(at+"/srv/app/y", []byte("srv/app/y"), 0o644))
			h.no(os.WriteFile(at+"/var/data/z", []byte("data/z"), 0o644))
		case "link":
			h.no(os.Link(at+"/etc/passwd", at+"/etc/passwd-"))
		case "sparse":
			h.no(os.WriteFile(at+"/var/log", append(make([]byte, 8192), "last"...), 0o644))
		}
		h.no(filepath.WalkDir(at, func(name string, entry os.DirEntry, err error) error {
			if err != nil || entry.Type()&os.ModeSymlink != 0 {
				return err
			}
			return os.Chtimes(name, time.Unix(0, 0), time.Unix(0, 0))
		}))
		below = at
	}
	return h
}

// copyTreeOf copies a tree as vfs does.
func (h host) copyTreeOf(to, from string) {
	h.Helper()
	h.no(os.Mkdir(to, 0o755))
	dst, err := os.Open(to)
	h.no(err)
	src, err := os.Open(from)
	h.no(err)
	h.no(treecopy.Upper(h.Context(), dst, src, treecopy.Options{}))
	h.no(dst.Close())
	h.no(src.Close())
}

// TestOddImages come along, look as before, and are as recorded.
func TestOddImages(t *testing.T) {
	h, s := newOddHost(t), &fakeStore{dir: t.TempDir()}
	h.no(h.run(h.copyJob(), s))
	if len(s.notes) != 2 || !strings.Contains(s.notes[0], "layer link of x:latest was carried as a tree") || !strings.Contains(s.notes[1], "layer sparse of x:latest was carried as a tree") {
		t.Errorf("%q", s.notes)
	}
	var dirs []*os.File
	for _, layer := range []string{"sparse", "link", "implied", "base"} {
		dir, err := os.Open(filepath.Join(s.dir, layer))
		h.no(err)
		defer dir.Close()
		dirs = append(dirs, dir)
	}
	shown := treestack.Root(dirs...)
	want, err := os.Open(h.path("vfs/dir/sparse"))
	h.no(err)
	defer want.Close()
	sameTrees(t, "", treestack.Root(want), shown)
	h.asRecorded(s, map[string]verify.Proof{"base": verify.ByDigest, "implied": verify.ByDigest, "link": verify.ByDigest, "sparse": verify.ByChecksums})
}

// asRecorded compares the layers that were carried with Docker's records.
func (h host) asRecorded(s *fakeStore, want map[string]verify.Proof) {
	h.Helper()
	docker, err := dockerstore.Open(h.dir)
	h.no(err)
	defer docker.Close()
	records := h.records("overlayzfs")
	for _, layer := range records.Layers {
		record, err := docker.TarSplit("overlayzfs", layer.Chain)
		h.no(err)
		dir, err := os.Open(filepath.Join(s.dir, layer.CacheID))
		h.no(err)
		tree := treestack.Layer{Dir: dir}
		if layer.Parent != "" {
			tree.OpenBelow = func() (below []*os.File, err error) {
				for chain := layer.Parent; chain != ""; chain = records.Layers[chain].Parent {
					dir, err := os.Open(filepath.Join(s.dir, records.Layers[chain].CacheID))
					h.no(err)
					below = append(below, dir)
				}
				return below, nil
			}
		}
		if proof, err := verify.CompareLayer(h.Context(), record, tree, layer.Diff); err != nil || proof != want[layer.CacheID] {
			h.Errorf("%s: %q, %v", layer.CacheID, proof, err)
		}
		h.no(dir.Close())
		h.no(record.Close())
	}
}

// sameTrees compares what two stacks show.
func sameTrees(t *testing.T, dir string, want, got treestack.Dir) {
	t.Helper()
	names, err := want.Names()
	if err != nil {
		t.Fatal(err)
	}
	others, err := got.Names()
	if err != nil || fmt.Sprint(names) != fmt.Sprint(others) {
		t.Errorf("%s has %q, %v; want %q", dir, others, err, names)
		return
	}
	for _, name := range names {
		w, err := want.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		g, err := got.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		path := dir + "/" + name
		if w.Stat.Mode != g.Stat.Mode || w.Stat.Uid != g.Stat.Uid || w.Stat.Gid != g.Stat.Gid || w.Stat.Mtim != g.Stat.Mtim || w.Stat.Rdev != g.Stat.Rdev {
			t.Errorf("%s: %+v, want %+v", path, g.Stat, w.Stat)
		}
		if w.IsDir() {
			a, err := want.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			b, err := got.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			sameTrees(t, path, a, b)
			a.Close()
			b.Close()
			continue
		}
		if w.Stat.Size != g.Stat.Size || w.Stat.Nlink != g.Stat.Nlink && w.Stat.Nlink > 1 {
			t.Errorf("%s: %+v, want %+v", path, g.Stat, w.Stat)
		}
	}
}
