package snapshotter

import (
	"context"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

func TestAViewOfASnapshotHasNoLayer(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	image(t, s, "base")
	before := len(f.layers)
	mounts, err := s.View(t.Context(), "v", "base")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.layers) != before {
		t.Error("the view has a layer")
	}
	for id := range f.layers {
		want := []mount.Mount{{Type: "bind", Source: "/home/" + id + "/diff", Options: []string{"ro", "rbind"}}}
		if diff := cmp.Diff(want, mounts); diff != "" {
			t.Errorf("mounts (-want +got):\n%s", diff)
		}
	}
	if err := s.Remove(t.Context(), "v"); err != nil || len(f.layers) != before {
		t.Errorf("%d layers after the view was removed, %v", len(f.layers), err)
	}
}

func TestErrorClassesForContainerd(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	image(t, s, "base")
	ctx := t.Context()
	prepare := func(key, parent string) error {
		_, err := s.Prepare(ctx, key, parent)
		return err
	}
	if err := prepare("a", "base"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.View(ctx, "v", "base"); err != nil {
		t.Fatal(err)
	}
	mounts := func(key string) error {
		_, err := s.Mounts(ctx, key)
		return err
	}
	for name, tt := range map[string]struct {
		err  error
		want func(error) bool
	}{
		"a key twice":            {prepare("a", "base"), errdefs.IsAlreadyExists},
		"a parent there is not":  {prepare("b", "nothing"), errdefs.IsNotFound},
		"an active parent":       {prepare("b", "a"), errdefs.IsInvalidArgument},
		"mounts of none":         {mounts("b"), errdefs.IsNotFound},
		"mounts of an image":     {mounts("base"), errdefs.IsFailedPrecondition},
		"commit of none":         {s.Commit(ctx, "c", "b"), errdefs.IsNotFound},
		"commit of a view":       {s.Commit(ctx, "c", "v"), errdefs.IsFailedPrecondition},
		"commit to a name taken": {s.Commit(ctx, "base", "a"), errdefs.IsAlreadyExists},
		"removal of none":        {s.Remove(ctx, "b"), errdefs.IsNotFound},
		"removal of a parent":    {s.Remove(ctx, "base"), errdefs.IsFailedPrecondition},
	} {
		if !tt.want(tt.err) {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
}

func TestHostileKeysAreOnlyNames(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	for _, key := range []string{"../../etc", "/", ".", "a\x00b", "ns/1/../../x", strings.Repeat("k", 4000), "\xff\xfe", "l", ".overlayzfs"} {
		if _, err := s.Prepare(t.Context(), key, ""); err != nil {
			t.Errorf("%.20q: %v", key, err)
		}
	}
	for id := range f.layers {
		if !isNumber(id) {
			t.Errorf("a layer is named %q", id)
		}
	}
	for _, name := range []string{"", strings.Repeat("k", 1<<16)} {
		if _, err := s.Prepare(t.Context(), name, ""); !errdefs.IsInvalidArgument(err) {
			t.Errorf("a name of %d bytes: %.200v", len(name), err)
		}
		if err := s.Commit(t.Context(), name, "."); !errdefs.IsInvalidArgument(err) {
			t.Errorf("commit to a name of %d bytes: %.200v", len(name), err)
		}
	}
}

func TestAContainersRootBelongsToItsRoot(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{RemapIDs: true})
	image(t, s, "base")
	labels := snapshots.WithLabels(map[string]string{
		snapshots.LabelSnapshotUIDMapping: "0:100000:65536",
		snapshots.LabelSnapshotGIDMapping: "0:200000:65536",
	})
	mounts, err := s.Prepare(t.Context(), "c", "base", labels)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"uidmap=0:100000:65536", "gidmap=0:200000:65536"}, mounts[0].Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	r, err := s.find(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.layers[r.id].owner; got != (owner{100000, 200000}) {
		t.Errorf("the owner is %v", got)
	}
	// A child without maps of its own shows its parent's root.
	if err := s.Commit(t.Context(), "mapped", "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prepare(t.Context(), "d", "mapped"); err != nil {
		t.Fatal(err)
	}
	if r, err = s.find(t.Context(), "d"); err != nil || f.layers[r.id].owner != (owner{100000, 200000}) {
		t.Errorf("the child's owner is %v, %v", f.layers[r.id].owner, err)
	}
}

func TestALayerUnpackedBesideItsParent(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	image(t, s, "base")
	labels := snapshots.WithLabels(map[string]string{snapshots.LabelSnapshotRef: "sha256:2", parentLabel: "sha256:1"})
	mounts, err := s.Prepare(t.Context(), "k8s.io/7/extract-1-x sha256:2", "", labels)
	if err != nil {
		t.Fatal(err)
	}
	if mounts[0].Type != "overlay" || !strings.HasPrefix(mounts[0].Options[0], "upperdir=/home/") || mounts[0].ReadOnly() {
		t.Errorf("deletions in it would be lost: %v", mounts)
	}
	if err := s.Commit(t.Context(), "second", "k8s.io/7/extract-1-x sha256:2", snapshots.WithParent("base")); err != nil {
		t.Fatal(err)
	}
	info, err := s.Stat(t.Context(), "second")
	if err != nil || info.Parent != "base" {
		t.Errorf("its parent is %q, %v", info.Parent, err)
	}
	r, err := s.find(t.Context(), "second")
	if err != nil || f.layers[r.id].parent != r.parentID {
		t.Errorf("its layer stands on %q, %v", f.layers[r.id].parent, err)
	}
}

// TestALayerThatWasRebasedIsMountedOnItsParent: the Commit failed after that.
func TestALayerThatWasRebasedIsMountedOnItsParent(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	image(t, s, "base")
	key := "k8s.io/7/extract-1-x sha256:2"
	if _, err := s.Prepare(t.Context(), key, "", snapshots.WithLabels(map[string]string{parentLabel: "sha256:1"})); err != nil {
		t.Fatal(err)
	}
	f.before = func(step string) error {
		if step == "seal" {
			return errTest
		}
		return nil
	}
	if err := s.Commit(t.Context(), "second", key, snapshots.WithParent("base")); err == nil {
		t.Fatal("it was committed")
	}
	mounts, err := s.Mounts(t.Context(), key)
	if err != nil || mounts[0].Type != "overlay" || len(mounts[0].Options) > 0 { // the core's, as it is
		t.Errorf("%v, %v", mounts, err)
	}
}

// TestALayerUnpackedBesideWithoutAWord: what it deletes went nowhere.
func TestALayerUnpackedBesideWithoutAWord(t *testing.T) {
	s := openFake(t, t.TempDir(), newFakeStore(), Options{})
	image(t, s, "base")
	key := "k8s.io/7/extract-1-x sha256:2"
	if _, err := s.Prepare(t.Context(), key, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), "second", key, snapshots.WithParent("base")); !errdefs.IsFailedPrecondition(err) {
		t.Error(err)
	}
}

func TestLimitsReachTheLayer(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{Limits: Limits{Default: overlayzfs.Limits{Bytes: 1 << 30}}})
	image(t, s, "base")
	container := "ns/4/" + strings.Repeat("ab", 32)
	for key, exempt := range map[string]bool{container: false, "ns/5/extract-1-x": true, "ns/6/builderskey": true} {
		if _, err := s.Prepare(t.Context(), key, "base"); err != nil {
			t.Fatal(err)
		}
		r, err := s.find(t.Context(), key)
		if err != nil || f.layers[r.id].options.Exempt != exempt {
			t.Errorf("%s: %+v, %v", key, f.layers[r.id].options, err)
		}
	}
}

func TestUsageAndApparentSize(t *testing.T) {
	s := openFake(t, t.TempDir(), newFakeStore(), Options{})
	image(t, s, "base")
	usage, err := s.Usage(t.Context(), "base")
	if err != nil || usage != (snapshots.Usage{Inodes: 3, Size: 1024}) {
		t.Errorf("%+v, %v", usage, err)
	}
	info, err := s.Stat(t.Context(), "base")
	if err != nil || info.Labels[apparentLabel] != "5000" {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestWalkAsksBackWithinTheWalk(t *testing.T) {
	s := openFake(t, t.TempDir(), newFakeStore(), Options{})
	if err := s.Walk(t.Context(), func(context.Context, snapshots.Info) error { return errTest }); err != nil {
		t.Errorf("a store without snapshots: %v", err)
	}
	image(t, s, "a", "b")
	err := s.Walk(t.Context(), func(ctx context.Context, info snapshots.Info) error {
		return s.Remove(ctx, info.Name)
	}, "name==b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), "b"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}

func TestCloseTwice(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if f.closed != 1 {
		t.Errorf("the core was closed %d times", f.closed)
	}
}
