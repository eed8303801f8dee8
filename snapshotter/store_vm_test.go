//go:build vm

package snapshotter

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// TestMain also runs the process that TestKilledForReal kills.
func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.ErrorLevel)
	if os.Getenv(victimHome) != "" {
		os.Exit(victim())
	}
	os.Exit(m.Run())
}

// These helpers make stores on the dataset that TMPDIR lies on.

func openStore(t *testing.T, o Options) *Snapshotter {
	t.Helper()
	if o.Home == "" {
		o.Home = filepath.Join(t.TempDir(), "home")
	}
	s, err := Open(context.Background(), o, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		removeAll(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// removeAll removes every snapshot, children first, so that no dataset of a
// limited one outlives the test.
func removeAll(t *testing.T, s *Snapshotter) {
	ctx := context.Background()
	for left, before := -1, 0; left != before; {
		before, left = left, 0
		var names []string
		if err := s.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
			names = append(names, info.Name)
			return nil
		}); err != nil {
			return // it was closed by the test
		}
		for _, name := range names {
			if s.Remove(ctx, name) != nil {
				left++
			}
		}
		if left == 0 {
			return
		}
	}
	t.Error("some snapshots cannot be removed")
}

// mounted mounts as containerd does and returns where.
func mounted(t *testing.T, mounts []mount.Mount) string {
	t.Helper()
	dir := t.TempDir()
	if err := mount.All(mounts, dir); err != nil {
		t.Fatalf("%v: %v", mounts, err)
	}
	t.Cleanup(func() {
		if err := mount.UnmountAll(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if err := mount.UnmountAll(dir, 0); err != nil {
		t.Fatal(err)
	}
}

func prepare(t *testing.T, s *Snapshotter, key, parent string, labels map[string]string) []mount.Mount {
	t.Helper()
	mounts, err := s.Prepare(t.Context(), key, parent, snapshots.WithLabels(labels))
	if err != nil {
		t.Fatal(err)
	}
	return mounts
}

// commitLayer commits a snapshot with the content that fill writes.
func commitLayer(t *testing.T, s *Snapshotter, name, parent string, fill func(dir string)) {
	t.Helper()
	dir := mounted(t, prepare(t, s, "key of "+name, parent, nil))
	fill(dir)
	unmount(t, dir)
	if err := s.Commit(t.Context(), name, "key of "+name); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func requireFile(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %.40q, %v", path, got, err)
	}
}

// core is the store behind s.
func core(t *testing.T, s *Snapshotter) *overlayzfs.Driver {
	t.Helper()
	d, ok := s.store.(*overlayzfs.Driver)
	if !ok {
		t.Fatal("no core behind it")
	}
	return d
}
