package snapshotter

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/snapshotter/limitcall"
)

// containerKey is a container's key as a client chooses it.
func containerKey(digits string) string { return digits + strings.Repeat("0", 64-len(digits)) }

// limitedFake opens a Snapshotter with containers in two of containerd's name spaces, and other
// snapshots.
func limitedFake(t *testing.T) (*Snapshotter, *fakeStore) {
	t.Helper()
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	image(t, s, "base")
	for _, key := range []string{
		"moby/3/" + containerKey("aaaa1"), "moby/4/" + containerKey("aaaa2"), "moby/5/" + containerKey("bbbb"), "k8s.io/6/" + containerKey("bbbb"),
		"moby/7/web", "moby/8/webserver", "moby/9/extract-1 sha256:0", "10",
	} {
		if _, err := s.Prepare(t.Context(), key, "base"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.View(t.Context(), "moby/11/views", "base"); err != nil {
		t.Fatal(err)
	}
	return s, f
}

func TestSetLimitsFindsAContainer(t *testing.T) {
	s, f := limitedFake(t)
	options := map[string]string{"size": "20M"}
	for name, want := range map[string]string{
		"aaaa1": "moby/3/" + containerKey("aaaa1"), containerKey("aaaa2"): "moby/4/" + containerKey("aaaa2"),
		"k8s.io/6/" + containerKey("bbbb"): "k8s.io/6/" + containerKey("bbbb"),
		"web":                              "moby/7/web", "webs": "moby/8/webserver", "10": "10",
	} {
		got, err := s.SetLimits(t.Context(), name, options)
		if err != nil || got != want {
			t.Errorf("%s means %q, %v; want %q", name, got, err, want)
			continue
		}
		r, err := s.find(t.Context(), want)
		if err != nil || f.layers[r.id].options.StorageOpt["size"] != "20M" {
			t.Errorf("%s: %+v, %v", name, f.layers[r.id].options, err)
		}
	}
	for name, is := range map[string]func(error) bool{
		"aaaa": errdefs.IsInvalidArgument, containerKey("bbbb"): errdefs.IsInvalidArgument, "aaa": errdefs.IsNotFound, "": errdefs.IsNotFound,
		"base": errdefs.IsNotFound, "moby/9/extract-1 sha256:0": errdefs.IsNotFound, "views": errdefs.IsNotFound,
	} {
		if got, err := s.SetLimits(t.Context(), name, options); !is(err) {
			t.Errorf("%q means %q, %v", name, got, err)
		}
	}
}

// TestACommittedSnapshotGetsNoLimit commits a snapshot after the core was asked, and before it
// has the layer locked.
func TestACommittedSnapshotGetsNoLimit(t *testing.T) {
	s, _ := limitedFake(t)
	r, err := s.find(t.Context(), "10")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.requireActive(t.Context(), r); err != nil {
		t.Error(err)
	}
	if err := s.Commit(t.Context(), "image", "10"); err != nil {
		t.Fatal(err)
	}
	if err := s.requireActive(t.Context(), r); !errdefs.IsNotFound(err) {
		t.Errorf("its key is gone: %v", err)
	}
	if _, err := s.Prepare(t.Context(), "10", "base"); err != nil {
		t.Fatal(err)
	}
	if err := s.requireActive(t.Context(), r); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("another snapshot has its key: %v", err)
	}
}

// TestLimitsOverTheSocket has the operator's command ask a running snapshotter.
func TestLimitsOverTheSocket(t *testing.T) {
	store, f := limitedFake(t)
	s := serve(t, func(context.Context) (Backend, error) { return store, nil })
	path := strings.TrimPrefix(s.conn.Target(), "unix:")
	name, err := limitcall.Request(t.Context(), path, "webs", map[string]string{"size": "20M", "inodes": "100"})
	if err != nil || name != "moby/8/webserver" {
		t.Fatalf("%q, %v", name, err)
	}
	r, err := store.find(t.Context(), name)
	if err != nil || f.layers[r.id].options.StorageOpt["inodes"] != "100" {
		t.Errorf("%+v, %v", f.layers[r.id].options, err)
	}
	var refusal *limitcall.Refusal
	if _, err := limitcall.Request(t.Context(), path, "nobody", nil); !errors.As(err, &refusal) || !strings.Contains(refusal.Text, "ctr snapshots") || strings.Contains(refusal.Text, "rpc error") {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := limitcall.Request(t.Context(), filepath.Join(t.TempDir(), "none"), "webs", nil); err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), "none") {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := limitcall.Request(t.Context(), path, "\xff", nil); err == nil {
		t.Error("a name that is no text was sent")
	}
}

// TestSetLimitsFindsTheNewest: containerd removes a snapshot, makes another by its key, and has the
// first one deleted later.
func TestSetLimitsFindsTheNewest(t *testing.T) {
	s, _ := limitedFake(t)
	for _, key := range []string{"moby/12/" + containerKey("aaaa1"), "moby/100/" + containerKey("bbbb")} {
		if _, err := s.Prepare(t.Context(), key, "base"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		containerKey("aaaa1"): "moby/12/" + containerKey("aaaa1"), "aaaa1": "moby/12/" + containerKey("aaaa1"),
		"moby/3/" + containerKey("aaaa1"): "moby/3/" + containerKey("aaaa1"),
	} {
		if got, err := s.SetLimits(t.Context(), name, map[string]string{"size": "1G"}); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// Two name spaces have this one.
	_, err := s.SetLimits(t.Context(), containerKey("bbbb"), map[string]string{"size": "1G"})
	if err == nil || !strings.Contains(err.Error(), "moby/100/") || strings.Contains(err.Error(), "moby/5/") {
		t.Errorf("%v", err)
	}
}
