//go:build vm

package quota

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// store is a dataset with a Limiter on it, as the driver has it.
type store struct {
	*Limiter
	t       *testing.T
	handle  *zfs.Handle
	dataset string
	home    string
	live    map[string]Layer // the layers that are there
}

// testStore is the name of the stores that tests make.
const testStore = "STOREOFTESTS"

// newStore makes a dataset for one test and opens a Limiter on it.
func newStore(t *testing.T, mode Mode, options ...string) *store {
	t.Helper()
	handle, err := zfs.Open()
	must(t, err)
	t.Cleanup(func() { must(t, handle.Close()) })
	s := &store{t: t, handle: handle, dataset: unusedDataset(t), home: plainDir(t), live: map[string]Layer{}}
	cli(t, "zfs", append(append([]string{"create", "-o", "mountpoint=legacy", "-o", "compression=off"}, options...), s.dataset)...)
	must(t, zfs.MountDataset(s.dataset, s.home))
	t.Cleanup(func() { must(t, mount.Unmount(s.home)) })
	must(t, os.MkdirAll(s.records(), 0o700))
	must(t, os.MkdirAll(s.stage(), 0o700))
	s.open(mode)
	return s
}

func (s *store) records() string { return filepath.Join(s.home, ".overlayzfs/limits") }
func (s *store) stage() string   { return filepath.Join(s.home, ".overlayzfs/new") }

func (s *store) config(mode Mode) Config {
	return Config{ZFS: s.handle, Dataset: s.dataset, Store: testStore, Home: s.stage(), Records: s.records(), Mode: mode}
}

// open opens the Limiter, for as long as the test runs or until the next.
func (s *store) open(mode Mode) {
	s.t.Helper()
	asked := mode
	if mode == Project {
		asked = Auto // and forced: released modules refuse it
	}
	l, err := Open(context.Background(), s.config(asked))
	must(s.t, err)
	if mode == Project {
		l.forceProjects()
	}
	s.Limiter = l
	s.t.Cleanup(l.Close)
}

// forceProjects has limits kept by project quotas whatever the probe says.
func (l *Limiter) forceProjects() { l.mode, l.reason, l.projectRefusal = Project, nil, nil }

// restart is what a crash and the next start are to the package: all of the
// process's state goes.
func (s *store) restart(mode Mode) {
	s.t.Helper()
	s.Close()
	s.open(mode)
	must(s.t, s.recoverAll())
}

func (s *store) recoverAll() error {
	return s.Recover(context.Background(), func(_ Record, key string) (Layer, bool) {
		p, ok := s.live[key]
		return p, ok
	})
}

// add makes a layer as the driver does: aside, and moved into place.
func (s *store) add(id string, spec Spec) Layer {
	s.t.Helper()
	p, err := s.tryAdd(id, spec)
	must(s.t, err)
	s.live[p.Key] = p
	return p
}

func (s *store) tryAdd(id string, spec Spec) (Layer, error) {
	p := s.newPlace()
	if err := os.Mkdir(p.Dir, 0o710); err != nil {
		return p, err
	}
	if err := s.Make(p, id, spec, makeContents); err != nil {
		return p, errors.Join(err, os.RemoveAll(p.Dir))
	}
	final := Layer{Key: p.Key, Dir: filepath.Join(s.home, id)}
	return final, os.Rename(p.Dir, final.Dir)
}

func (s *store) newPlace() Layer {
	key := newKey()
	return Layer{Key: key, Dir: filepath.Join(s.stage(), key)}
}

func newKey() string { return rand.Text()[:26] }

func makeContents(dir string) error {
	return errors.Join(os.Mkdir(filepath.Join(dir, "diff"), 0o755), os.Mkdir(filepath.Join(dir, "work"), 0o700))
}

// attach attaches a layer until the test ends.
func (s *store) attach(p Layer) {
	s.t.Helper()
	must(s.t, s.Attach(p))
	s.t.Cleanup(func() { s.detach(p) })
}

// detach takes the mount away even when the Limiter was closed.
func (s *store) detach(p Layer) {
	s.t.Helper()
	must(s.t, s.Detach(p))
}

// remove is the removal of a layer.
func (s *store) remove(p Layer) {
	s.t.Helper()
	s.detach(p)
	must(s.t, s.Discard(p.Key))
	must(s.t, os.RemoveAll(p.Dir))
	delete(s.live, p.Key)
}

func (s *store) child(p Layer) string { return s.dataset + "/" + p.Key }

// children are the child datasets there are.
func (s *store) children() []string {
	s.t.Helper()
	var names []string
	for child, err := range s.handle.Children(s.dataset) {
		must(s.t, err)
		names = append(names, strings.TrimPrefix(child.Name, s.dataset+"/"))
	}
	return names
}

func (s *store) wantChildren(want ...string) {
	s.t.Helper()
	got := s.children()
	if fmt.Sprint(sorted(got)) != fmt.Sprint(sorted(want)) {
		s.t.Errorf("child datasets: %q, want %q", got, want)
	}
}

func (s *store) wantRecords(want ...string) {
	s.t.Helper()
	got, err := s.Limiter.records.listKeys()
	must(s.t, err)
	if fmt.Sprint(sorted(got)) != fmt.Sprint(sorted(want)) {
		s.t.Errorf("records: %q, want %q", got, want)
	}
}

// sync ends a transaction group.
func (s *store) sync() {
	s.t.Helper()
	must(s.t, s.handle.SyncPool(context.Background(), zfs.PoolOf(s.dataset)))
}

// unusedDataset is the name of a dataset that goes, with all below it, when the
// test ends.
func unusedDataset(t *testing.T) string {
	t.Helper()
	parent, err := zfs.DatasetOf(t.TempDir())
	must(t, err)
	random := make([]byte, 4)
	_, err = rand.Read(random)
	must(t, err)
	name := zfs.PoolOf(parent) + "/quotatest-" + hex.EncodeToString(random)
	t.Cleanup(func() {
		if exec.Command("zfs", "list", name).Run() == nil {
			cli(t, "zfs", "destroy", "-R", name)
		}
	})
	return name
}

// plainDir is a directory outside of the pool.
func plainDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "quota-")
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	return dir
}

// cli runs a command and returns what it says.
func cli(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := run(name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return out
}

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

// get is a property as zfs(8) has it.
func get(t *testing.T, dataset, property string) string {
	t.Helper()
	return cli(t, "zfs", "get", "-Hp", "-o", "value", property, dataset)
}

// eventually waits for something that happens in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after 30 s", what)
		}
	}
}

// writeUntil writes random data to a new file until the kernel refuses or it is
// of that size, and returns how much it took.
func writeUntil(path string, size, chunk int) (int, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	data := make([]byte, chunk)
	_, _ = rand.Read(data)
	for done := 0; done < size; {
		n, err := f.Write(data[:min(chunk, size-done)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return size, nil
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}
