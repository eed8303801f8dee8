//go:build vm

package snapshot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// mountTree is what a host has mounted: the records dataset; in it the volumes dataset, with a
// dataset in that and a tmpfs; and binds of both elsewhere.
type mountTree struct {
	l        lab
	root     string
	volumes  string // dataset
	bindBack string // a bind of a directory that goes back
	bindStay string
	table    []string
}

// volumeDirs are where a volume's text is, below the records' mount. The first goes back.
var volumeDirs = []string{"inside", "volumes/a", "volumes/nested", "volumes/tmp"}

func (l lab) mountTree() *mountTree {
	l.t.Helper()
	m := &mountTree{l: l, root: l.t.TempDir(), volumes: l.records + "/volumes", bindBack: l.t.TempDir(), bindStay: l.t.TempDir()}
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	l.create(m.volumes, nil)
	l.create(m.volumes+"/nested", nil)
	must(zfs.MountDatasetWith(l.records, m.root, unix.MS_NOATIME|unix.MS_NOSUID|unix.MS_NODEV))
	l.t.Cleanup(func() { l.zfsUnmountAll(m.root) })
	must(os.MkdirAll(filepath.Join(m.root, "volumes"), 0o755))
	must(zfs.MountDatasetWith(m.volumes, filepath.Join(m.root, "volumes"), unix.MS_RELATIME|unix.MS_NOEXEC))
	for _, name := range []string{"a", "nested", "tmp"} {
		must(os.MkdirAll(filepath.Join(m.root, "volumes", name), 0o755))
	}
	must(zfs.MountDataset(m.volumes+"/nested", filepath.Join(m.root, "volumes/nested")))
	must(mount.Mount{Type: "tmpfs", Source: "volume", Target: filepath.Join(m.root, "volumes/tmp"), Flags: unix.MS_NODEV}.Do())
	must(os.MkdirAll(filepath.Join(m.root, "inside"), 0o755))
	must(mount.Bind(filepath.Join(m.root, "volumes/a"), m.bindStay, unix.MS_RDONLY))
	m.table = m.list()
	return m
}

// zfsUnmountAll unmounts everything at and below a directory.
func (l lab) zfsUnmountAll(dir string) {
	below, err := mount.ListBelow(dir)
	if err != nil {
		l.t.Error(err)
	}
	for _, i := range slices.Backward(below) {
		mount.Unmount(i.Mountpoint)
	}
	mount.Unmount(dir)
}

// list describes the mounts of the tree.
func (m *mountTree) list() (all []string) {
	m.l.t.Helper()
	below, err := mount.ListBelow(m.root)
	if err != nil {
		m.l.t.Fatal(err)
	}
	for _, dir := range []string{m.root, m.bindBack, m.bindStay} {
		at, err := mount.ListAt(dir)
		if err != nil {
			m.l.t.Fatal(err)
		}
		below = append(below, at...)
	}
	for _, i := range below {
		all = append(all, strings.Join([]string{i.Mountpoint, i.Source, i.FSType, i.Root, i.Options}, " "))
	}
	slices.Sort(all)
	return all
}

// write writes a text to all directories of volumes, and to what newLab's write writes.
func (m *mountTree) write(text string) {
	m.l.t.Helper()
	for _, dir := range append([]string{"."}, volumeDirs...) {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
			m.l.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.root, dir, "text"), []byte(text), 0o600); err != nil {
			m.l.t.Fatal(err)
		}
	}
}

// want compares the texts, in what goes back and in what stays, and the mounts.
func (m *mountTree) want(back, stay string) {
	m.l.t.Helper()
	for _, dir := range append([]string{"."}, volumeDirs...) {
		want := stay
		if dir == "." || dir == "inside" {
			want = back
		}
		raw, err := os.ReadFile(filepath.Join(m.root, dir, "text"))
		if dir == "inside" && errors.Is(err, os.ErrNotExist) {
			continue // it was made after the snapshot
		}
		if err != nil || string(raw) != want {
			m.l.t.Errorf("%s holds %q, want %q, %v", dir, raw, want, err)
		}
	}
	if got := m.list(); !slices.Equal(got, m.table) {
		m.l.t.Errorf("mounts:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(m.table, "\n"))
	}
	if entries, err := os.ReadDir(m.l.state); err != nil || len(entries) > 0 {
		m.l.t.Errorf("the state directory has %v, %v", entries, err)
	}
}

// TestMountsComeBack unmounts and mounts a host's tree of mounts, in order and with their
// options, around a rollback. Volumes on datasets of their own keep their content.
func TestMountsComeBack(t *testing.T) {
	l := newLab(t)
	m := l.mountTree()
	m.write("then")
	if err := mount.Bind(filepath.Join(m.root, "inside"), m.bindBack, unix.MS_NODEV|unix.MS_NOATIME); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mount.Unmount(m.bindBack) })
	m.table = m.list()
	name := l.take()
	m.write("later")
	// A look into a snapshot mounts it.
	if _, err := os.ReadFile(filepath.Join(m.root, ".zfs/snapshot", name, "text")); err != nil {
		t.Log(err)
	}
	p := l.plan(name, Options{})
	if text := p.String(); !strings.Contains(text, "mounted again:\n  "+m.root+" (") {
		t.Errorf("the plan does not say what it unmounts:\n%s", text)
	}
	l.back(name, Options{})
	m.want("then", "later")
	if raw, err := os.ReadFile(filepath.Join(m.bindBack, "text")); string(raw) != "then" {
		t.Errorf("through a bind: %q, %v", raw, err)
	}

	// A bind of a directory that the snapshot lacks does not come back.
	if err := os.Mkdir(filepath.Join(m.root, "new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := mount.Bind(filepath.Join(m.root, "new"), m.bindStay, 0); err != nil {
		t.Fatal(err)
	}
	p = l.plan(name, Options{})
	if err := p.Do(t.Context()); err != nil || len(p.Lost) != 1 || p.Lost[0].Root != "/new" {
		t.Errorf("lost %+v, %v", p.Lost, err)
	}
	m.want("then", "later")
}

// TestABusyMountUndoesTheUnmounts: what is unmounted already is mounted again.
func TestABusyMountUndoesTheUnmounts(t *testing.T) {
	l := newLab(t)
	m := l.mountTree()
	m.write("then")
	name := l.take()
	m.write("later")
	var f *os.File
	err := l.plan(name, Options{}).execute(t.Context(), func(step string) (err error) {
		if step == "unmount" {
			f, err = os.Open(filepath.Join(m.root, "text"))
		}
		return err
	})
	f.Close()
	if !errors.Is(err, fault.Busy) || errors.Is(err, ErrUnfinished) {
		t.Errorf("with an open file: %v", err)
	}
	if property, err := PendingRollback(l.zfs, l.layers); property != "" || err != nil {
		t.Errorf("the property is %q, %v", property, err)
	}
	m.want("later", "later")
	m.use("volumes/nested", func(dir string) { l.wantRefused(name, Options{}, "(sleep)", "the mount on "+dir) })
	l.back(name, Options{})
	m.want("then", "later")
}

// use has a process in a directory.
func (m *mountTree) use(name string, fn func(dir string)) {
	m.l.t.Helper()
	sleep := exec.Command("sleep", "1000")
	sleep.Dir = filepath.Join(m.root, name)
	start(m.l.t, sleep)
	defer stop(sleep)
	fn(sleep.Dir)
}

// TestPropagatedMountsAreNoObstacle: a service with a slave of the host's mounts, as systemd
// makes many, loses them when the host does.
func TestPropagatedMountsAreNoObstacle(t *testing.T) {
	l := newLab(t)
	name := l.take()
	top := t.TempDir()
	if err := mount.Bind(top, top, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.zfsUnmountAll(top) })
	if err := unix.Mount("", top, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := zfs.MountDataset(l.records, dir); err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(t.TempDir(), "ready")
	c := exec.Command("unshare", "-m", "--propagation", "slave", "sh", "-c", "touch "+ready+" && exec sleep 1000")
	start(t, c)
	defer stop(c)
	waitFor(t, func() bool { _, err := os.Stat(ready); return err == nil })
	l.back(name, Options{})
	if on, err := mount.ListAt(dir); err != nil || len(on) != 1 || on[0].Source != l.records {
		t.Errorf("on %s: %v, %v", dir, on, err)
	}
}

// TestAnEngineCannotStartMeanwhile: the directory is covered, read-only, while nothing is
// mounted there.
func TestAnEngineCannotStartMeanwhile(t *testing.T) {
	l := newLab(t)
	m := l.mountTree()
	m.write("then")
	name := l.take()
	looked := false
	err := l.plan(name, Options{}).execute(t.Context(), func(step string) error {
		if strings.HasPrefix(step, "roll back "+l.records) {
			looked = true
			if err := os.Mkdir(filepath.Join(m.root, "image"), 0o700); !errors.Is(err, unix.EROFS) {
				t.Errorf("a new data-root: %v", err)
			}
		}
		return nil
	})
	if err != nil || !looked {
		t.Errorf("%v, looked: %v", err, looked)
	}
	m.want("then", "then")
}
