package snapshotter

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// fakeLayer is a layer of a fakeStore.
type fakeLayer struct {
	parent  string
	options overlayzfs.CreateOptions
	owner   owner
	durable bool // its content is on disk
	torn    bool // a power cut tore it
}

// fakeStore is a core in memory. Its layers outlive it, as those on a disk do.
type fakeStore struct {
	mu     sync.Mutex
	layers map[string]*fakeLayer
	// before is called ahead of each step that changes something, and may end it.
	before func(step string) error
	closed int
	lost   error // what CheckHome returns
	off    error // what CheckLimits returns
}

func newFakeStore() *fakeStore {
	return &fakeStore{layers: map[string]*fakeLayer{}, before: func(string) error { return nil }}
}

func (f *fakeStore) layer(id string) (*fakeLayer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.layers[id]; l != nil {
		return l, nil
	}
	return nil, fault.New(fault.NotFound, "no layer %s", id)
}

func (f *fakeStore) Create(_ context.Context, id, parent string, o overlayzfs.CreateOptions) error {
	if err := f.before("create"); err != nil {
		return err
	}
	f.mu.Lock()
	f.layers[id] = &fakeLayer{parent: parent, options: o}
	f.mu.Unlock()
	return f.before("created")
}

func (f *fakeStore) Remove(_ context.Context, id string) error {
	if err := f.before("remove"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.layers, id)
	return nil
}

func (f *fakeStore) CheckHome(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// lose has the store's pool go, or come back.
func (f *fakeStore) lose(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = err
}

func (f *fakeStore) Layers(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id := range f.layers {
		ids = append(ids, id)
	}
	return ids, nil
}

func (f *fakeStore) RemoveTorn(_ context.Context, ids []string) (removed []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if l := f.layers[id]; l != nil && l.torn {
			delete(f.layers, id)
			removed = append(removed, id)
		}
	}
	return removed, nil
}

func (f *fakeStore) WritableMount(_ context.Context, id string) (overlayzfs.Mount, error) {
	l, err := f.layer(id)
	if err != nil {
		return overlayzfs.Mount{}, err
	}
	if l.parent == "" {
		return overlayzfs.Mount{Type: "bind", Source: "/home/" + id + "/diff", Flags: 0x5000}, nil
	}
	return overlayzfs.Mount{Type: "overlay", Source: "overlay"}, nil
}

func (f *fakeStore) ViewMount(_ context.Context, id string) (overlayzfs.Mount, error) {
	_, err := f.layer(id)
	return overlayzfs.Mount{Type: "bind", Source: "/home/" + id + "/diff", Flags: 0x5001}, err
}

func (f *fakeStore) Chown(_ context.Context, id string, uid, gid int) error {
	if err := f.before("own"); err != nil {
		return err
	}
	l, err := f.layer(id)
	if err == nil {
		l.owner = owner{uid, gid}
	}
	return err
}

func (f *fakeStore) LayerOwner(_ context.Context, id string) (uid, gid int, err error) {
	l, err := f.layer(id)
	if err != nil {
		return 0, 0, err
	}
	return l.owner.uid, l.owner.gid, nil
}

func (f *fakeStore) Rebase(_ context.Context, id, parent string) error {
	if err := f.before("rebase"); err != nil {
		return err
	}
	l, err := f.layer(id)
	if err == nil {
		l.parent = parent
	}
	return err
}

func (f *fakeStore) CommitLayer(_ context.Context, id string, _ bool, record func() error) error {
	if err := f.before("seal"); err != nil {
		return err
	}
	l, err := f.layer(id)
	if err != nil {
		return err
	}
	l.durable = true
	if err := f.before("record"); err != nil {
		return err
	}
	if err := record(); err != nil {
		return err
	}
	return f.before("recorded")
}

func (f *fakeStore) CommitRecords(context.Context) error { return f.before("barrier") }

func (f *fakeStore) CheckLimits() error { return f.off }

func (f *fakeStore) SetLimitsIf(_ context.Context, id string, options map[string]string, check func() error) error {
	l, err := f.layer(id)
	if err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	l.options.StorageOpt = options
	return nil
}

func (f *fakeStore) WaitReaper(context.Context) error { return nil }

func (f *fakeStore) WaitTxg(context.Context) error { return nil }

func (f *fakeStore) Usage(context.Context, string) (overlayzfs.Usage, error) {
	return overlayzfs.Usage{Inodes: 3, Allocated: 1024, Apparent: 5000}, nil
}

func (f *fakeStore) Close() error {
	f.closed++
	return nil
}

// quiet is a log that nobody reads.
func quiet() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// openFake opens a Snapshotter over a fake store, with records in dir.
func openFake(t *testing.T, dir string, f *fakeStore, o Options) *Snapshotter {
	t.Helper()
	s, err := open(t.Context(), f, dir, o, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.meta.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// image commits one layer on another for each name.
func image(t *testing.T, s *Snapshotter, names ...string) {
	t.Helper()
	parent := ""
	for _, name := range names {
		if _, err := s.Prepare(t.Context(), "key of "+name, parent); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), name, "key of "+name); err != nil {
			t.Fatal(err)
		}
		parent = name
	}
}

// requireAgreement holds records and layers to each other, as they have to be
// after every start.
func requireAgreement(t *testing.T, s *Snapshotter, f *fakeStore) {
	t.Helper()
	known, err := s.readRecords(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{"": ""}
	for id, info := range known {
		ids[info.Name] = id
	}
	for id, info := range known {
		l := f.layers[id]
		if hasLayer(info) && l == nil {
			t.Errorf("%v %q has no layer", info.Kind, info.Name)
		}
		if info.Kind == snapshots.KindCommitted && l != nil && !l.durable {
			t.Errorf("%q is recorded as committed, and its content was not on disk", info.Name)
		}
		if info.Kind == snapshots.KindCommitted && l != nil && l.parent != ids[info.Parent] {
			t.Errorf("%q is recorded on layer %q, and stands on %q", info.Name, ids[info.Parent], l.parent)
		}
	}
	for id := range f.layers {
		if _, ok := known[id]; !ok && isNumber(id) {
			t.Errorf("layer %s belongs to nobody", id)
		}
	}
}

var errTest = errors.New("as the test wants it")

// failAt makes the nth step fail, counting from 1.
func failAt(n int, fail func() error) func(string) error {
	return func(string) error {
		n--
		if n == 0 {
			return fail()
		}
		return nil
	}
}
