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

// store is a dataset with a Limiter, as the driver has it.
type store struct {
	*Limiter
	t       *testing.T
	handle  *zfs.Handle
	dataset string
	home    string
	live    map[string]Layer // the layers that are there
	spares  int
	idleFor func() time.Duration
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
	return Config{ZFS: s.handle, Dataset: s.dataset, Store: testStore, Staging: s.stage(), Records: s.records(), Mode: mode, Spares: s.spares, IdleFor: s.idleFor}
}

// open opens the Limiter until the end of the test, or until the next open.
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

// forceProjects has project quotas enforce the limits, whatever the probe says.
func (l *Limiter) forceProjects() { l.mode, l.reason, l.projectRefusal = Project, nil, nil }

// restart does what a crash and the next start do to the package: it drops the process's state.
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

// add makes a layer as the driver does: in staging, and then moved into place.
func (s *store) add(id string, spec Spec) Layer {
	s.t.Helper()
	p, err := s.tryAdd(id, spec)
	must(s.t, err)
	s.live[p.Key] = p
	return p
}

func (s *store) tryAdd(id string, spec Spec) (Layer, error) {
	p := s.newLayer()
	if err := os.Mkdir(p.Dir, 0o710); err != nil {
		return p, err
	}
	if err := s.Make(p, id, spec, makeContents); err != nil {
		return p, errors.Join(err, os.RemoveAll(p.Dir))
	}
	final := Layer{Key: p.Key, Dir: filepath.Join(s.home, id)}
	return final, os.Rename(p.Dir, final.Dir)
}

func (s *store) newLayer() Layer {
	key := newKey()
	return Layer{Key: key, Dir: filepath.Join(s.stage(), key)}
}

func newKey() string { return rand.Text()[:26] }

func makeContents(dir string) error {
	return errors.Join(os.Mkdir(filepath.Join(dir, "diff"), 0o755), os.Mkdir(filepath.Join(dir, "work"), 0o700))
}

// attach attaches a layer until the test ends.
func (s *store) attach(layer Layer) {
	s.t.Helper()
	must(s.t, s.Attach(layer))
	s.t.Cleanup(func() { s.detach(layer) })
}

// detach unmounts, even when the Limiter was closed.
func (s *store) detach(layer Layer) {
	s.t.Helper()
	must(s.t, s.Detach(layer))
}

// remove removes a layer.
func (s *store) remove(layer Layer) {
	s.t.Helper()
	s.detach(layer)
	must(s.t, s.Discard(layer.Key))
	must(s.t, os.RemoveAll(layer.Dir))
	delete(s.live, layer.Key)
}

func (s *store) child(layer Layer) string { return s.dataset + "/" + layer.Key }

// children returns the child datasets.
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

// unusedDataset returns the name of a dataset that is destroyed, with its descendants, at the end
// of the test.
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

// plainDir makes a directory outside of the pool.
func plainDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "quota-")
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	return dir
}

// cli runs a command and returns its output.
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

// get returns a property as zfs(8) prints it.
func get(t *testing.T, dataset, property string) string {
	t.Helper()
	return cli(t, "zfs", "get", "-Hp", "-o", "value", property, dataset)
}

// eventually waits for an effect of work in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after 30 s", what)
		}
	}
}

// writeUntil writes random data to a new file until the kernel refuses or the file has that size.
// It returns how much was written.
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
