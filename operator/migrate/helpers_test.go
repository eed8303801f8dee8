package migrate

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// host is a machine's data-root and daemon.json, as dockerd leaves them.
type host struct {
	*testing.T
	dir    string // the data-root
	config string // daemon.json
	driver string
}

func newHost(t *testing.T, driver string) host {
	dir := t.TempDir()
	h := host{t, filepath.Join(dir, "docker"), filepath.Join(dir, "daemon.json"), driver}
	h.write("volumes/metadata.db", "")
	h.no(os.WriteFile(h.config, []byte(h.daemonJSON("[\n\t\t\""+driver+".x=1\", \"keep=2\"\n\t]", driver, "")), 0o600))
	return h
}

// daemonJSON is one that somebody has written in a way of their own.
func (h host) daemonJSON(options, driver, more string) string {
	return fmt.Sprintf("{\n\t\"storage-opts\": %s,\n\t\"labels\" : [ \"a=b\" ],\n\t\"data-root\": %q,\n\t\"storage-driver\": %q%s\n}\n", options, h.dir, driver, more)
}

// configWas is what a job remembers of daemon.json.
func (h host) configWas() *string {
	h.Helper()
	j, f := Job{}, h.loaded()
	j.rememberConfig(f)
	return j.ConfigWas
}

func (h host) loaded() dockerconf.File {
	h.Helper()
	f, err := dockerconf.Load(h.config)
	h.no(err)
	return f
}

func (h host) no(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h host) path(name string) string { return filepath.Join(h.dir, name) }

func (h host) write(name, content string) {
	h.Helper()
	h.no(os.MkdirAll(filepath.Dir(h.path(name)), 0o755))
	h.no(os.WriteFile(h.path(name), []byte(content), 0o600))
}

func hexID(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// file is one of a layer's.
type file struct{ name, content string }

// tarOf is the tar of a layer.
func tarOf(files ...file) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Uid: os.Getuid(), Gid: os.Getgid()})
		_, _ = w.Write([]byte(f.content))
	}
	_ = w.Close()
	return out.Bytes()
}

// tarSplit is Docker's record of a tar.
func (h host) tarSplit(archive []byte) string {
	h.Helper()
	var record bytes.Buffer
	z := gzip.NewWriter(&record)
	in, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(archive), storage.NewJSONPacker(z), nil)
	h.no(err)
	_, err = io.Copy(io.Discard, in)
	h.no(errors.Join(err, <-done, in.Close(), z.Close()))
	return record.String()
}

// layer records an image's layer. The driver vfs gets its files and those of the
// layer below.
func (h host) layer(parent digest.Digest, id string, files ...file) digest.Digest {
	h.Helper()
	return h.layerOf(parent, id, tarOf(files...))
}

// layerOf records an image's layer of a tar.
func (h host) layerOf(parent digest.Digest, id string, archive []byte) digest.Digest {
	h.Helper()
	diff := digest.FromBytes(archive)
	chain := diff
	if parent != "" {
		chain = digest.FromString(string(parent) + " " + string(diff))
	}
	dir := "image/" + h.driver + "/layerdb/sha256/" + chain.Encoded() + "/"
	h.write(dir+"cache-id", id)
	h.write(dir+"diff", string(diff))
	h.write(dir+"size", fmt.Sprint(len(archive)))
	h.write(dir+"tar-split.json.gz", h.tarSplit(archive))
	if parent != "" {
		h.write(dir+"parent", string(parent))
	}
	return chain
}

// image records an image of layers with these diffs.
func (h host) image(tag string, chains ...digest.Digest) {
	h.Helper()
	var diffs []string
	for _, c := range chains {
		raw, err := os.ReadFile(h.path("image/" + h.driver + "/layerdb/sha256/" + c.Encoded() + "/diff"))
		h.no(err)
		diffs = append(diffs, string(raw))
	}
	raw, err := json.Marshal(map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	h.no(err)
	id := digest.FromBytes(raw)
	h.write("image/"+h.driver+"/imagedb/content/sha256/"+id.Encoded(), string(raw))
	h.write("image/"+h.driver+"/repositories.json", fmt.Sprintf(`{"Repositories":{"x":{%q:%q}}}`, tag, id))
}

// container records a container and its writable layer.
func (h host) container(name string, parent digest.Digest) (id, mount string) {
	h.Helper()
	id, mount = hexID(name), hexID("mount of "+name)
	h.write("containers/"+id+"/config.v2.json", fmt.Sprintf(`{"State":{"Running":false},"ID":%q,"Name":"/%s","Driver":%q,"Created":"2026-08-24T10:15:00Z","Later":{"<>":1}}`, id, name, h.driver))
	h.write("containers/"+id+"/hostconfig.json", `{"StorageOpt":null}`)
	dir := "image/" + h.driver + "/layerdb/mounts/" + id + "/"
	h.write(dir+"mount-id", mount)
	h.write(dir+"init-id", mount+"-init")
	h.write(dir+"parent", string(parent))
	return id, mount
}

// newVFSHost returns a data-root of the driver vfs: two layers, an image, two containers.
func newVFSHost(t *testing.T) host {
	h := newHost(t, "vfs")
	base := h.layer("", "base", file{"etc/motd", "hello"}, file{"etc/gone", "x"})
	top := h.layer(base, "top", file{"etc/motd", "changed"}, file{"usr/bin/tool", "tool"})
	h.image("x:latest", base, top)
	for _, dir := range []string{"base", "top"} {
		h.write("vfs/dir/"+dir+"/etc/motd", map[string]string{"base": "hello", "top": "changed"}[dir])
		h.write("vfs/dir/"+dir+"/etc/gone", "x")
	}
	h.write("vfs/dir/top/usr/bin/tool", "tool")
	h.unpacked("vfs/dir/base", "vfs/dir/top")
	for _, name := range []string{"web", "db"} {
		_, mount := h.container(name, top)
		for _, id := range []string{mount + "-init", mount} {
			h.no(os.CopyFS(h.path("vfs/dir/"+id), os.DirFS(h.path("vfs/dir/top"))))
			h.same("vfs/dir/"+id, "vfs/dir/top")
		}
		h.write("vfs/dir/"+mount+"/data/"+name, name+"'s")
		h.no(os.Remove(h.path("vfs/dir/" + mount + "/etc/gone")))
	}
	h.write("buildkit/metadata.db", "of the cache")
	return h
}

// unpacked gives files the modes and times that tarOf writes.
func (h host) unpacked(dirs ...string) {
	h.Helper()
	for _, dir := range dirs {
		h.no(filepath.WalkDir(h.path(dir), func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				err = os.Chmod(name, 0o644)
			}
			return errors.Join(err, os.Chtimes(name, time.Unix(0, 0), time.Unix(0, 0)))
		}))
	}
}

// same makes a copy what its original is, as the driver does.
func (h host) same(dst, src string) {
	h.Helper()
	h.no(filepath.WalkDir(h.path(src), func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		twin := h.path(dst) + strings.TrimPrefix(name, h.path(src))
		return errors.Join(os.Chmod(twin, info.Mode().Perm()), os.Chtimes(twin, info.ModTime(), info.ModTime()))
	}))
}

// everything is each file of the host with its content, but for what nobody is to
// see.
func (h host) everything() map[string]string {
	h.Helper()
	all := map[string]string{}
	h.no(filepath.WalkDir(filepath.Dir(h.dir), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.Dir(h.dir), name)
		if err != nil || entry.IsDir() {
			all[rel] = "directory"
			return err
		}
		if entry.Type() == fs.ModeSymlink {
			all[rel], err = os.Readlink(name)
			return err
		}
		raw, err := os.ReadFile(name)
		all[rel] = string(raw)
		if strings.HasSuffix(name, ".v2.json") { // the same whatever the order of its fields
			var value any
			if json.Unmarshal(raw, &value) == nil {
				all[rel] = fmt.Sprint(value)
			}
		}
		return err
	}))
	return all
}

func (h host) records(driver string) *dockerstore.Records {
	h.Helper()
	docker, err := dockerstore.Open(h.dir)
	h.no(err)
	defer docker.Close()
	records, err := docker.Read(driver)
	h.no(err)
	return records
}

// within runs something on the data-root.
func (h host) within(run func(r *dataRoot) error) error {
	h.Helper()
	return runLocked(h.dir, (&fakeStore{}).tools(), run)
}

// fakeStore is a store in a directory: what a carrier is to be tested with where there
// is no ZFS. The real one is what the tests in the lab use.
type fakeStore struct {
	dir string

	mu     sync.Mutex
	refuse string // the layer that takes no content
	opened int
	token  string
	busy   error // of somebody who has it open
	notes  []string
}

func (s *fakeStore) tools() Tools {
	return Tools{
		Open: func(context.Context) (Store, func() error, error) {
			s.opened++
			return s, func() error { return nil }, os.MkdirAll(s.dir, 0o755)
		},
		Unused:   func() error { return s.busy },
		Token:    func() (string, error) { return s.token, nil },
		Note:     func(text string) { s.notes = append(s.notes, text) },
		Progress: func(string, int64) (func(int64), func()) { return func(int64) {}, func() {} },
	}
}

func (s *fakeStore) Create(_ context.Context, id, parent string, _ overlayzfs.CreateOptions) error {
	if parent != "" {
		if _, err := os.Stat(filepath.Join(s.dir, parent)); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(s.dir, id), 0o755)
}

func (s *fakeStore) Fill(_ context.Context, id string, write func(dir *os.File) error) error {
	dir, err := s.take(id)
	if err != nil {
		return err
	}
	defer dir.Close()
	return write(dir)
}

func (s *fakeStore) take(id string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == s.refuse {
		return nil, fmt.Errorf("%s takes nothing", id)
	}
	return os.Open(filepath.Join(s.dir, id))
}

func (s *fakeStore) Remove(_ context.Context, id string) error {
	return os.RemoveAll(filepath.Join(s.dir, id))
}

func (s *fakeStore) Layers(context.Context) (ids []string, err error) {
	entries, err := os.ReadDir(s.dir)
	for _, entry := range entries {
		ids = append(ids, entry.Name())
	}
	return ids, err
}

func (s *fakeStore) WaitReaper(context.Context) error { return nil }
