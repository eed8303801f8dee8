//go:build vm

package overlayzfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/user"
	"github.com/sirupsen/logrus"
)

// TestMain also runs the process that TestACopyIsKilled kills.
func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.ErrorLevel)
	if os.Getenv(victimHome) != "" {
		os.Exit(victim())
	}
	os.Exit(m.Run())
}

// These helpers make stores on the dataset that TMPDIR lies on.

func openStore(t *testing.T) *Driver {
	t.Helper()
	return openStoreIn(t, filepath.Join(t.TempDir(), "home"), testOptions)
}

// testOptions are the options of a caller that comes back for every layer.
var testOptions = Options{MayResume: func(string) bool { return true }}

func openStoreIn(t *testing.T, dir string, o Options) *Driver {
	t.Helper()
	d, err := Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, d) })
	return d
}

// closeStore closes a store and requires that nothing stays mounted.
func closeStore(t *testing.T, d *Driver) {
	t.Helper()
	finish(t, d)
	if err := d.Close(); err != nil && !errors.Is(err, os.ErrClosed) { // it may have crashed
		t.Error(err)
	}
}

// finish ends the mounts of a store and waits for its work in the background. Close waits for
// that only for a while.
func finish(t *testing.T, d *Driver) {
	t.Helper()
	if err := d.Cleanup(context.Background()); err != nil {
		t.Error(err)
	}
	if err := d.limits.DropSpares(); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.WaitReaper(ended); err != nil { // a suspended pool lets none end
		t.Log(err)
	}
}

// crash ends the use of a store as a killed process would, and opens it again.
func crash(t *testing.T, d *Driver) *Driver {
	t.Helper()
	return crashTo(t, d, testOptions)
}

func crashTo(t *testing.T, d *Driver, o Options) *Driver {
	t.Helper()
	// The work in the background ends with a process.
	must(t, errors.Join(d.limits.DropSpares(), d.lock.Close()))
	again, err := Open(context.Background(), string(d.home), o)
	if err != nil {
		t.Fatal(err)
	}
	d.lock = again.lock // for the first store's cleanup
	t.Cleanup(func() {
		finish(t, again)
		must(t, again.stop())
	})
	return again
}

func create(t *testing.T, d *Driver, id, parent string) {
	t.Helper()
	if err := d.Create(context.Background(), id, parent, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, d *Driver, id string) string {
	t.Helper()
	dir, err := d.Get(context.Background(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// mountedTop makes a store with a layer on a base, and mounts it.
func mountedTop(t *testing.T) (*Driver, string) {
	t.Helper()
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "top", "base")
	return d, get(t, d, "top")
}

func put(t *testing.T, d *Driver, id string) {
	t.Helper()
	if err := d.Put(context.Background(), id); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, d *Driver, id string) {
	t.Helper()
	if err := d.Remove(context.Background(), id); err != nil {
		t.Fatal(err)
	}
}

func exists(t *testing.T, d *Driver, id string) bool {
	t.Helper()
	ok, err := d.Exists(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// change mounts the layer while fn changes it.
func change(t *testing.T, d *Driver, id string, fn func(dir string)) {
	t.Helper()
	dir := get(t, d, id)
	defer put(t, d, id)
	fn(dir)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, d *Driver, id, parent string) []byte {
	t.Helper()
	r, err := d.Diff(context.Background(), id, parent)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// names lists a tar's entries.
func names(t *testing.T, raw []byte) []string {
	t.Helper()
	var out []string
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		hdr, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimSuffix(hdr.Name, "/"))
	}
}

// archive makes a tar of files with their names as content.
func archive(t *testing.T, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range files {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(name))}))
		_, err := io.WriteString(w, name)
		must(t, err)
	}
	must(t, w.Close())
	return buf.Bytes()
}

func apply(t *testing.T, d *Driver, id, parent string, raw []byte) int64 {
	t.Helper()
	size, err := d.ApplyDiff(context.Background(), id, parent, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// requireTidy requires that the store keeps nothing of layers that it does not have.
func requireTidy(t *testing.T, d *Driver, layers ...string) {
	t.Helper()
	must(t, errors.Join(d.WaitReaper(t.Context()), d.limits.DropSpares()))
	for _, name := range []string{newDir, applyDir, buildingDir, trashDir, limitsDir} {
		if left := list(t, d.home.privatePath(name)); len(left) > 0 {
			t.Errorf("%s holds %q", name, left)
		}
	}
	if links := list(t, d.home.path(linkDir)); len(links) != len(layers) {
		t.Errorf("%d short links for %d layers", len(links), len(layers))
	}
	for _, name := range list(t, string(d.home)) {
		if name != linkDir && name != privateDir && !contains(layers, name) {
			t.Errorf("layer %s was left", name)
		}
	}
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func mapped(t *testing.T) user.IdentityMapping {
	t.Helper()
	ids := []user.IDMap{{ID: 0, ParentID: 100000, Count: 65536}}
	return user.IdentityMapping{UIDMaps: ids, GIDMaps: ids}
}

// bigArchive streams a tar with one file of incompressible content.
func bigArchive(size int64) io.Reader {
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		err := tw.WriteHeader(&tar.Header{Name: "big", Mode: 0o644, Size: size})
		if err == nil {
			_, err = io.CopyN(tw, rand.NewChaCha8([32]byte{}), size)
		}
		w.CloseWithError(errors.Join(err, tw.Close()))
	}()
	return r
}
