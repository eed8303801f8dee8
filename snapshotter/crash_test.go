package snapshotter

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// The steps of a call, each of which may be the last before the process ends.

// calls are what is interrupted. Each runs on an image "base" and an active
// snapshot "active" on it.
var calls = map[string]func(ctx context.Context, s *Snapshotter) error{
	"prepare": func(ctx context.Context, s *Snapshotter) error {
		_, err := s.Prepare(ctx, "new", "base")
		return err
	},
	"prepare on nothing": func(ctx context.Context, s *Snapshotter) error {
		_, err := s.Prepare(ctx, "new", "")
		return err
	},
	"view": func(ctx context.Context, s *Snapshotter) error {
		_, err := s.View(ctx, "new", "base")
		return err
	},
	"view of nothing": func(ctx context.Context, s *Snapshotter) error {
		_, err := s.View(ctx, "new", "")
		return err
	},
	"commit": func(ctx context.Context, s *Snapshotter) error { return s.Commit(ctx, "new", "active") },
	"commit beside its parent": func(ctx context.Context, s *Snapshotter) error {
		const key = "ns/9/extract-1-x sha256:2"
		_, err := s.Prepare(ctx, key, "", snapshots.WithLabels(map[string]string{parentLabel: "sha256:1"}))
		if err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
		return s.Commit(ctx, "new", key, snapshots.WithParent("base"))
	},
	"remove": func(ctx context.Context, s *Snapshotter) error { return s.Remove(ctx, "active") },
}

// killed is what a step panics with that the process does not survive.
type killed struct{}

// runUntil runs a call up to its nth step, and reports whether it got there.
func runUntil(t *testing.T, s *Snapshotter, f *fakeStore, n int, call func(context.Context, *Snapshotter) error) (reached bool) {
	t.Helper()
	f.before = failAt(n, func() error { panic(killed{}) })
	defer func() {
		f.before = func(string) error { return nil }
		if v := recover(); v != nil {
			if _, reached = v.(killed); !reached {
				panic(v)
			}
		}
	}()
	if err := call(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return false
}

func TestAKilledProcessLeavesNothingHalfMade(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			steps := 0
			for killAt(t, name, call, steps+1) {
				steps++
			}
			if steps == 0 {
				t.Error("nothing was interrupted")
			}
		})
	}
}

func killAt(t *testing.T, name string, call func(context.Context, *Snapshotter) error, n int) (reached bool) {
	f, dir := newFakeStore(), t.TempDir()
	s := openFake(t, dir, f, Options{})
	prepared(t, s)
	if !runUntil(t, s, f, n, call) {
		return false
	}
	if err := s.meta.Close(); err != nil {
		t.Fatal(err)
	}
	again := openFake(t, dir, f, Options{})
	requireAgreement(t, again, f)
	if _, err := again.Stat(t.Context(), "base"); err != nil {
		t.Errorf("what was there is lost: %v", err)
	}
	finish(t, again, name, call)
	requireAgreement(t, again, f)
	return true
}

// prepared makes what the calls run on.
func prepared(t *testing.T, s *Snapshotter) {
	t.Helper()
	image(t, s, "base")
	if _, err := s.Prepare(t.Context(), "active", "base"); err != nil {
		t.Fatal(err)
	}
}

// finish repeats the call, which either had happened or happens now.
func finish(t *testing.T, s *Snapshotter, name string, call func(context.Context, *Snapshotter) error) {
	t.Helper()
	err := call(t.Context(), s)
	done := errdefs.IsAlreadyExists(err) || name == "remove" && errdefs.IsNotFound(err)
	if err != nil && !done {
		t.Errorf("repeated: %v", err)
	}
}

func TestAFailedStepTakesTheCallBack(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			steps := 0
			for failStep(t, name, call, steps+1) {
				steps++
			}
			if steps == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

func failStep(t *testing.T, name string, call func(context.Context, *Snapshotter) error, n int) (reached bool) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	prepared(t, s)
	f.before = failAt(n, func() error { reached = true; return errTest })
	err := call(t.Context(), s)
	f.before = func(string) error { return nil }
	if err != nil && !errors.Is(err, errTest) {
		t.Errorf("step %d: the cause got lost: %v", n, err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Error(err)
	}
	requireAgreement(t, s, f)
	finish(t, s, name, call)
	requireAgreement(t, s, f)
	return reached
}

// TestLayersOfOthersStay: what is no number was not made here.
func TestLayersOfOthersStay(t *testing.T) {
	f, dir := newFakeStore(), t.TempDir()
	begun(t, dir, f)
	f.layers["somebody"] = &fakeLayer{}
	f.layers["007"] = &fakeLayer{}
	f.layers["7"] = &fakeLayer{}
	openFake(t, dir, f, Options{})
	if len(f.layers) != 2 || f.layers["7"] != nil {
		t.Errorf("left are %v", f.layers)
	}
}

// begun makes a store that was opened once.
func begun(t *testing.T, dir string, f *fakeStore) {
	t.Helper()
	s, err := open(t.Context(), f, dir, Options{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.meta.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLayersOutliveLostRecords: that no record names a layer means nothing where
// the file of records is a new one.
func TestLayersOutliveLostRecords(t *testing.T) {
	f, dir := newFakeStore(), t.TempDir()
	s := openFake(t, dir, f, Options{})
	image(t, s, "base")
	if err := s.meta.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, metadataName)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for range 2 { // nor the second time
		again, err := open(t.Context(), f, dir, Options{}, quiet())
		if err == nil {
			again.Close()
		}
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("opened without its records: %v", err)
		}
	}
	if len(f.layers) != 1 {
		t.Errorf("left are %v", f.layers)
	}
}

// TestUnremovableLayersAreLeft: a layer that cannot be removed does not keep the store from
// opening, so that others can be removed.
func TestUnremovableLayersAreLeft(t *testing.T) {
	f, dir := newFakeStore(), t.TempDir()
	begun(t, dir, f)
	f.layers["7"] = &fakeLayer{}
	f.before = func(step string) error {
		if step == "remove" {
			return errTest
		}
		return nil
	}
	s := openFake(t, dir, f, Options{})
	image(t, s, "base")
	if err := s.Cleanup(t.Context()); !errors.Is(err, errTest) {
		t.Errorf("cleanup says %v", err)
	}
	f.before = func(string) error { return nil }
	if err := s.Cleanup(t.Context()); err != nil || f.layers["7"] != nil {
		t.Errorf("left are %v, %v", f.layers, err)
	}
}

// TestALostImageIsSaid: its record is not deleted behind containerd's back.
func TestALostImageIsSaid(t *testing.T) {
	f, dir := newFakeStore(), t.TempDir()
	s := openFake(t, dir, f, Options{})
	image(t, s, "base")
	clear(f.layers)
	if err := s.meta.Close(); err != nil {
		t.Fatal(err)
	}
	again := openFake(t, dir, f, Options{})
	if _, err := again.Stat(t.Context(), "base"); err != nil {
		t.Error(err)
	}
	if _, err := again.View(t.Context(), "v", "base"); !errdefs.IsNotFound(err) {
		t.Errorf("a view of what is gone: %v", err)
	}
}

// TestATornLayerIsForgotten: a power cut tore the layer of a snapshot while it was made. Its
// record goes with it, so that the snapshot can be prepared again.
func TestATornLayerIsForgotten(t *testing.T) {
	dir, f := t.TempDir(), newFakeStore()
	s := openFake(t, dir, f, Options{})
	image(t, s, "base")
	for _, key := range []string{"torn", "whole"} {
		if _, err := s.Prepare(t.Context(), key, "base"); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.find(t.Context(), "torn")
	if err != nil {
		t.Fatal(err)
	}
	f.layers[r.id].torn = true
	if err := s.meta.Close(); err != nil {
		t.Fatal(err)
	}
	s = openFake(t, dir, f, Options{})
	if _, err := s.Stat(t.Context(), "torn"); !errdefs.IsNotFound(err) {
		t.Errorf("the torn one: %v", err)
	}
	if _, err := s.Stat(t.Context(), "whole"); err != nil {
		t.Errorf("the whole one: %v", err)
	}
	if _, err := s.Prepare(t.Context(), "torn", "base"); err != nil {
		t.Error(err)
	}
}
