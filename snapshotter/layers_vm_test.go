//go:build vm

package snapshotter

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

func TestCommittedContentSurvivesTheProcess(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	s := openStore(t, Options{Home: home})
	commitLayer(t, s, "base", "", func(dir string) { write(t, filepath.Join(dir, "a"), "1") })
	commitLayer(t, s, "top", "base", func(dir string) { write(t, filepath.Join(dir, "b"), "2") })
	running := mounted(t, prepare(t, s, "c", "top", nil))
	write(t, filepath.Join(running, "c"), "3")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(running, "d"), "4") // a container goes on without us
	again := openStore(t, Options{Home: home})
	mounts, err := again.Mounts(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	unmount(t, running)
	dir := mounted(t, mounts)
	for name, want := range map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"} {
		requireFile(t, filepath.Join(dir, name), want)
	}
	unmount(t, dir)
}

func TestUsageIsWhatThePoolGives(t *testing.T) {
	s := openStore(t, Options{})
	const size = 4 << 20
	commitLayer(t, s, "base", "", func(dir string) {
		write(t, filepath.Join(dir, "text"), strings.Repeat("the same again ", size/15))
		if err := os.Link(filepath.Join(dir, "text"), filepath.Join(dir, "name")); err != nil {
			t.Fatal(err)
		}
	})
	usage, err := s.Usage(t.Context(), "base")
	if err != nil || usage.Size <= 0 || usage.Size > size/2 || usage.Inodes != 2 {
		t.Errorf("%+v of a file that compresses well and has two names, %v", usage, err)
	}
	info, err := s.Stat(t.Context(), "base")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(info.Labels[apparentLabel]); err != nil || n < size-15 || n > size {
		t.Errorf("apparent size %q", info.Labels[apparentLabel])
	}
}

// TestDeletionsOfALayerUnpackedBesideItsParent unpacks as containerd's applier
// does where it is told of an upper directory.
func TestDeletionsOfALayerUnpackedBesideItsParent(t *testing.T) {
	s := openStore(t, Options{})
	commitLayer(t, s, "base", "", func(dir string) {
		write(t, filepath.Join(dir, "stays"), "1")
		write(t, filepath.Join(dir, "goes"), "2")
	})
	key := "ns/9/extract-1 sha256:2"
	mounts := prepare(t, s, key, "", map[string]string{snapshots.LabelSnapshotRef: "sha256:2", parentLabel: "sha256:1"})
	upper, ok := strings.CutPrefix(mounts[0].Options[0], "upperdir=")
	if !ok {
		t.Fatalf("%v", mounts)
	}
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	if err := w.WriteHeader(&tar.Header{Name: ".wh.goes", Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Apply(t.Context(), upper, &raw, archive.WithConvertWhiteout(archive.OverlayConvertWhiteout)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), "second", key, snapshots.WithParent("base")); err != nil {
		t.Fatal(err)
	}
	view, err := s.View(t.Context(), "v", "second")
	if err != nil {
		t.Fatal(err)
	}
	dir := mounted(t, view)
	requireFile(t, filepath.Join(dir, "stays"), "1")
	if _, err := os.Lstat(filepath.Join(dir, "goes")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the layer deletes is there: %v", err)
	}
	unmount(t, dir)
	third := mounted(t, prepare(t, s, "third", "second", nil))
	requireFile(t, filepath.Join(third, "stays"), "1")
	unmount(t, third)
}

func TestOwnersAreMappedByTheMount(t *testing.T) {
	s := openStore(t, Options{RemapIDs: true})
	commitLayer(t, s, "base", "", func(dir string) { write(t, filepath.Join(dir, "a"), "1") })
	dir := mounted(t, prepare(t, s, "c", "base", map[string]string{
		snapshots.LabelSnapshotUIDMapping: "0:100000:65536",
		snapshots.LabelSnapshotGIDMapping: "0:200000:65536",
	}))
	for _, name := range []string{".", "a"} {
		requireOwner(t, filepath.Join(dir, name), 100000, 200000)
	}
	unmount(t, dir)
}

// TestAChownedCopyIsNotMappedAgain does what a containerd does whose
// configuration does not list the capability remap-ids.
func TestAChownedCopyIsNotMappedAgain(t *testing.T) {
	s := openStore(t, Options{RemapIDs: true})
	commitLayer(t, s, "base", "", func(dir string) { write(t, filepath.Join(dir, "a"), "1") })
	commitLayer(t, s, "copy", "base", func(dir string) {
		for _, name := range []string{".", "a"} {
			if err := os.Lchown(filepath.Join(dir, name), 100000, 200000); err != nil {
				t.Fatal(err)
			}
		}
	})
	dir := mounted(t, prepare(t, s, "c", "copy", map[string]string{
		snapshots.LabelSnapshotUIDMapping: "0:100000:65536",
		snapshots.LabelSnapshotGIDMapping: "0:200000:65536",
	}))
	for _, name := range []string{".", "a"} {
		requireOwner(t, filepath.Join(dir, name), 100000, 200000)
	}
	unmount(t, dir)
}

func requireOwner(t *testing.T, path string, uid, gid uint32) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil || st.Uid != uid || st.Gid != gid {
		t.Errorf("%s belongs to %d:%d, %v", path, st.Uid, st.Gid, err)
	}
}

// TestBuildKitKnowsTheOptionsOfMounts: with one that it does not know it cannot
// tell the upper directory, and compares the whole image for each step.
func TestBuildKitKnowsTheOptionsOfMounts(t *testing.T) {
	s := openStore(t, Options{})
	commitLayer(t, s, "one", "", func(dir string) { write(t, filepath.Join(dir, "file"), "1") })
	commitLayer(t, s, "two", "one", func(dir string) { write(t, filepath.Join(dir, "file"), "2") })
	view, err := s.View(t.Context(), "view", "two")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`^((lower|upper|work)dir=.+|index=off|redirect_dir=.+|userxattr)$`)
	for _, m := range append(view, prepare(t, s, "active", "two", nil)...) {
		for _, option := range m.Options {
			if m.Type != "overlay" || !known.MatchString(option) {
				t.Errorf("a mount of type %s has the option %s", m.Type, option)
			}
		}
	}
}

func TestStoresHaveOneDoor(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	d, err := overlayzfs.Open(t.Context(), home, overlayzfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Create(t.Context(), "1", "", overlayzfs.CreateOptions{ReadWrite: true}), d.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), Options{Home: home}, quiet()); err == nil {
		t.Error("a graphdriver's store was opened")
		s.Close()
	}
	ours := openStore(t, Options{})
	image(t, ours, "base")
	dir, err := core(t, ours).MakeDoorDir(doorName)
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Close(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Dir(filepath.Dir(filepath.Dir(dir)))
	if d, err := overlayzfs.Open(t.Context(), other, overlayzfs.Options{}); err == nil {
		t.Errorf("a graphdriver opened our store in %s", other)
		d.Close()
	}
}

func TestManyAtOnce(t *testing.T) {
	s := openStore(t, Options{})
	image(t, s, "base")
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			key, name := fmt.Sprint("key ", i), fmt.Sprint("name ", i)
			_, err := s.Prepare(context.Background(), key, "base")
			if err == nil && i%3 == 0 {
				err = s.Remove(context.Background(), key)
			} else if err == nil {
				err = s.Commit(context.Background(), name, key)
			}
			if err == nil && i%3 == 1 {
				err = errors.Join(s.Cleanup(context.Background()), s.Remove(context.Background(), name))
			}
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	// All of them commit under one name, and one does.
	done := make(chan error, 4)
	for i := range cap(done) {
		go func() {
			key := fmt.Sprint("rival ", i)
			_, err := s.Prepare(context.Background(), key, "base")
			if err == nil {
				err = s.Commit(context.Background(), "the name", key)
			}
			done <- err
		}()
	}
	won := 0
	for range cap(done) {
		switch err := <-done; {
		case err == nil:
			won++
		case !errdefs.IsAlreadyExists(err):
			t.Error(err)
		}
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d snapshots have one name", won)
	}
	requireRealAgreement(t, s)
}

// requireRealAgreement holds records to the layers on disk.
func requireRealAgreement(t *testing.T, s *Snapshotter) {
	t.Helper()
	ids, err := core(t, s).Layers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known, err := s.readRecords(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, id := range ids {
		there[id] = true
		if _, ok := known[id]; !ok {
			t.Errorf("layer %s belongs to nobody", id)
		}
	}
	for id, info := range known {
		if hasLayer(info) && !there[id] {
			t.Errorf("%v %q has no layer", info.Kind, info.Name)
		}
	}
}
