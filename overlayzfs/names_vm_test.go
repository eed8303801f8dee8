//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// cut cuts the power of a frozen pool: the pool gets back what its device holds now, and is
// imported again. Nothing that the driver did not wait for is on it.
func (f *frozen) cut(t *testing.T) *Driver {
	t.Helper()
	device, kept := filepath.Join(f.tmpfs, "vdev"), filepath.Join(t.TempDir(), "kept")
	copySparse(t, device, kept)
	closeStore(t, f.Driver)
	zpoolCommand(t, "export", faultPool)
	copySparse(t, kept, device)
	zpoolCommand(t, "import", "-d", f.tmpfs, "-o", "cachefile=none", faultPool)
	o := testOptions
	o.Dataset = faultPool + "/layers"
	return openStoreIn(t, string(f.home), o)
}

func copySparse(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy: %v: %s", err, out)
	}
}

// TestNamesSurviveAPowerCut makes sure that each barrier for names commits all that its call
// has to. Each call is the last before a cut of its own: a later call would commit for it.
func TestNamesSurviveAPowerCut(t *testing.T) {
	for name, tt := range map[string]struct {
		do    func(t *testing.T, d *Driver)
		check func(t *testing.T, d *Driver)
	}{
		"base": {
			func(t *testing.T, d *Driver) {
				must(t, d.Create(t.Context(), "new", "", CreateOptions{Recorded: true, ReadWrite: true}))
			},
			func(t *testing.T, d *Driver) { requireWhole(t, d, "new", 0) },
		},
		"container": {
			func(t *testing.T, d *Driver) {
				must(t, d.Create(t.Context(), "new", "base", CreateOptions{Recorded: true, ReadWrite: true}))
			},
			func(t *testing.T, d *Driver) { requireWhole(t, d, "new", 1) },
		},
		"container with its first layer": {
			func(t *testing.T, d *Driver) {
				createFirst(t, d, "new-init")
				must(t, d.Create(t.Context(), "new", "new-init", CreateOptions{Recorded: true, ReadWrite: true}))
			},
			requireWithFirst,
		},
		"container with an earlier process's first layer": {
			func(t *testing.T, d *Driver) {
				createFirst(t, d, "new-init")
				d.durableWithChild.remove("new-init")
				d.durableLayers.remove("new-init")
				must(t, d.Create(t.Context(), "new", "new-init", CreateOptions{Recorded: true, ReadWrite: true}))
			},
			requireWithFirst,
		},
		"step": {
			func(t *testing.T, d *Driver) {
				must(t, d.Create(t.Context(), "new", "base", CreateOptions{Recorded: true}))
			},
			func(t *testing.T, d *Driver) { requireWhole(t, d, "new", 1) },
		},
		"removal": {
			func(t *testing.T, d *Driver) { remove(t, d, "old") },
			func(t *testing.T, d *Driver) {
				if exists(t, d, "old") {
					t.Error("a removed layer is back")
				}
			},
		},
		"content": {
			func(t *testing.T, d *Driver) { apply(t, d, "old", "base", archive(t, "file")) },
			func(t *testing.T, d *Driver) {
				// A start makes a step of a layer whose content is not said to be whole.
				if d.isMutable(d.home.layer("old")) {
					t.Error("the content is not said to be whole")
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := freezer(t, "sa")
			create(t, f.Driver, "old", "base")
			f.freeze(t)
			tt.do(t, f.Driver)
			tt.check(t, f.cut(t))
		})
	}
}

// createFirst creates an init layer with content, as dockerd does.
func createFirst(t *testing.T, d *Driver, id string) {
	t.Helper()
	must(t, d.Create(t.Context(), id, "base", CreateOptions{ReadWrite: true}))
	change(t, d, id, func(dir string) {
		write(t, dir+"/etc/hosts", "content")
		must(t, errors.Join(os.Chmod(dir+"/dir", 0o711), os.Symlink("/proc/mounts", dir+"/etc/mtab")))
	})
}

// requireWithFirst makes sure that a container's layer and its init layer are whole.
func requireWithFirst(t *testing.T, d *Driver) {
	t.Helper()
	requireWhole(t, d, "new-init", 1)
	requireWhole(t, d, "new", 2)
	l := d.home.layer("new-init")
	if content, err := os.ReadFile(filepath.Join(l.diff(), "etc/hosts")); err != nil || string(content) != "content" {
		t.Errorf("a file has %q, %v", content, err)
	}
	if right, err := hasAttributes(filepath.Join(l.diff(), "dir"), 0o711, 0, 0); err != nil || !right {
		t.Errorf("a directory lost its mode: %v", err)
	}
}

// TestTimesOfAnInitLayerSurviveAPowerCut: nobody sets the times of what dockerd writes there, and
// the log has no others.
func TestTimesOfAnInitLayerSurviveAPowerCut(t *testing.T) {
	f := freezer(t, "sa")
	f.freeze(t)
	createFirst(t, f.Driver, "new-init")
	times := func(d *Driver) (found []time.Time) {
		for _, name := range []string{"", "dir", "etc", "etc/hosts", "etc/mtab"} {
			info, err := os.Lstat(filepath.Join(d.home.layer("new-init").diff(), name))
			must(t, err)
			found = append(found, info.ModTime())
		}
		return found
	}
	want := times(f.Driver)
	must(t, f.Create(t.Context(), "new", "new-init", CreateOptions{Recorded: true, ReadWrite: true}))
	if diff := cmp.Diff(want, times(f.cut(t))); diff != "" {
		t.Errorf("times before and after the cut: %s", diff)
	}
}

// requireWhole makes sure that a layer exists and that its own files have their content.
func requireWhole(t *testing.T, d *Driver, id string, lowers int) {
	t.Helper()
	if !exists(t, d, id) {
		t.Fatalf("layer %s is lost", id)
	}
	if found, err := d.home.layer(id).readLowers(); err != nil || len(found) != lowers || d.home.layer(id).isTorn() {
		t.Errorf("layer %s is torn: lowers %q, %v", id, found, err)
	}
	get(t, d, id)
	put(t, d, id)
}

// TestAnOwnerSurvivesAPowerCut is about attributes, which are in a file's own list of the
// intent log.
func TestAnOwnerSurvivesAPowerCut(t *testing.T) {
	f := freezer(t, "sa")
	f.freeze(t)
	must(t, f.Create(context.Background(), "1", "base", CreateOptions{Recorded: true, ReadWrite: true}))
	must(t, f.Chown(context.Background(), "1", 12, 34))
	previous := unix.Umask(0o077)
	err := f.Create(context.Background(), "2", "base", CreateOptions{Recorded: true, ReadWrite: true})
	unix.Umask(previous)
	must(t, err)

	d := f.cut(t)
	uid, gid, err := d.LayerOwner(context.Background(), "1")
	if err != nil || uid != 12 || gid != 34 {
		t.Errorf("owner %d:%d, %v", uid, gid, err)
	}
	if right, err := hasAttributes(d.home.layer("2").diff(), 0o755, 0, 0); err != nil || !right {
		t.Errorf("the directory lost its mode: %v", err)
	}
}

// TestABarrierForNamesLeavesOthersDataAlone counts the bytes that go to the intent log
// while another layer has data that nobody synced.
func TestABarrierForNamesLeavesOthersDataAlone(t *testing.T) {
	const data = 32 * mib
	f := freezer(t, "sa")
	create(t, f.Driver, "old", "base")
	create(t, f.Driver, "busy", "base")
	f.freeze(t) // no transaction group takes the data away
	dir := get(t, f.Driver, "busy")
	write(t, dir+"/data", strings.Repeat("some data ", data/10))
	before := loggedBytes(t)
	must(t, f.Create(context.Background(), "container", "base", CreateOptions{Recorded: true, ReadWrite: true}))
	remove(t, f.Driver, "old")
	if n := loggedBytes(t) - before; n > data/8 {
		t.Errorf("%d bytes were logged for two changes of names", n)
	}
	must(t, f.commitLog())
	if n := loggedBytes(t) - before; n < data/2 {
		t.Errorf("%d bytes were logged by syncfs: this test sees nothing", n)
	}
	put(t, f.Driver, "busy")
}

// loggedBytes returns how much file content went to the intent logs of all pools.
func loggedBytes(t *testing.T) (sum int) {
	t.Helper()
	raw, err := os.ReadFile("/proc/spl/kstat/zfs/zil")
	must(t, err)
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && strings.HasPrefix(fields[0], "zil_itx_") && strings.HasSuffix(fields[0], "_bytes") && !strings.Contains(fields[0], "metaslab") {
			n, err := strconv.Atoi(fields[2])
			must(t, err)
			sum += n
		}
	}
	return sum
}

// TestAStepThatOutlivesTheProcessKeepsItsBarrier makes sure that the last Put of a build step
// waits for the disk, although another process created the step.
func TestAStepThatOutlivesTheProcessKeepsItsBarrier(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(string) {})
	must(t, d.Create(t.Context(), "step", "base", CreateOptions{Recorded: true}))
	c := &counted{waits: map[Barrier]int{}}
	d = crashTo(t, d, Options{MayResume: testOptions.MayResume, Observer: c})
	dir := get(t, d, "step")
	write(t, dir+"/file", "x")
	before := c.count()
	put(t, d, "step")
	if c.count() == before {
		t.Error("the step is recorded now, and nothing waited for its content")
	}
	remove(t, d, "step")
	requireTidy(t, d, "base")
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waits[TxgBarrier] + c.waits[IntentLogBarrier]
}
