//go:build vm

package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// created is a host on which setup has created datasets.
type created struct {
	z      *zfs.Handle
	undo   Undo
	parent string
}

func newCreated(t *testing.T) *created {
	t.Helper()
	z, err := zfs.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &created{z, Undo{Log: &setuplog.Log{Path: filepath.Join(t.TempDir(), "setup.log")}, Driver: "overlayzfs"}, "tank/created"}
	for _, name := range []string{c.parent, c.layers()} {
		command(t, "zfs", "create", "-o", "mountpoint=legacy", name)
		if err := c.undo.Log.Append(setuplog.Record{Kind: setuplog.Dataset, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		there, err := z.Exists(c.parent)
		if err != nil {
			t.Error(err)
		}
		if there {
			command(t, "zfs", "destroy", "-r", c.parent)
		}
	})
	return c
}

func (c *created) layers() string { return c.parent + "/layers" }

// mounted calls do with the directory on which a dataset is mounted meanwhile.
func mounted(t *testing.T, dataset string, do func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	command(t, "mount", "-t", "zfs", dataset, dir)
	defer command(t, "umount", dir)
	do(dir)
}

// makeLayer makes a store with one layer.
func (c *created) makeLayer(t *testing.T) {
	t.Helper()
	d, err := overlayzfs.Open(t.Context(), filepath.Join(t.TempDir(), "home"), overlayzfs.Options{Dataset: c.layers()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Create(t.Context(), "layer", "", overlayzfs.CreateOptions{}), d.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestUndoDestroysEmptyDatasets: whatever holds something stays, and is named.
func TestUndoDestroysEmptyDatasets(t *testing.T) {
	write := func(t *testing.T, dataset string) {
		mounted(t, dataset, func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, tt := range map[string]struct {
		with    func(*testing.T, *created)
		remains string
		left    []string // of parent and layers
	}{
		"empty":             {func(*testing.T, *created) {}, "", nil},
		"gone already":      {func(t *testing.T, c *created) { command(t, "zfs", "destroy", c.layers()) }, "", nil},
		"a file":            {func(t *testing.T, c *created) { write(t, c.layers()) }, "tank/created/layers stays: it holds files", []string{"tank/created", "tank/created/layers"}},
		"the parent's file": {func(t *testing.T, c *created) { write(t, c.parent) }, "tank/created stays: it holds files", []string{"tank/created"}},
		"a snapshot": {func(t *testing.T, c *created) { command(t, "zfs", "snapshot", c.layers()+"@mine") },
			"it holds the snapshot tank/created/layers@mine", []string{"tank/created", "tank/created/layers"}},
		"somebody's dataset": {func(t *testing.T, c *created) { command(t, "zfs", "create", "-o", "mountpoint=none", c.parent+"/mine") },
			"it holds the dataset tank/created/mine", []string{"tank/created", "tank/created/mine"}},
		"layers":            {func(t *testing.T, c *created) { c.makeLayer(t) }, "it holds 1 layers; --undo --layers destroys them", []string{"tank/created", "tank/created/layers"}},
		"layers, destroyed": {func(t *testing.T, c *created) { c.makeLayer(t); c.undo.Layers = true }, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCreated(t)
			tt.with(t, c)
			p, err := PlanUndo(t.Context(), c.z, c.undo)
			if err != nil {
				t.Fatal(err)
			}
			if remains := strings.Join(p.Remaining, "\n"); !strings.Contains(remains, tt.remains) || tt.remains == "" && remains != "" {
				t.Errorf("remains: %s", remains)
			}
			if _, err := p.Apply(t.Context(), c.z, c.undo.Log); err != nil {
				t.Fatal(err)
			}
			if left := c.left(t); !slices.Equal(left, tt.left) {
				t.Errorf("left: %q, want %q", left, tt.left)
			}
		})
	}
}

// left lists the datasets that are left.
func (c *created) left(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("zfs", "list", "-H", "-r", "-o", "name", "tank").Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(name string) bool { return !strings.HasPrefix(name, c.parent) })
}

// TestUndoLooksAgain: what came between the plan and the step stays.
func TestUndoLooksAgain(t *testing.T) {
	for name, harm := range map[string]func(*testing.T, *created){
		"a file": func(t *testing.T, c *created) {
			mounted(t, c.layers(), func(dir string) {
				if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
					t.Fatal(err)
				}
			})
		},
		"a snapshot": func(t *testing.T, c *created) { command(t, "zfs", "snapshot", c.layers()+"@mine") },
		"a layer":    func(t *testing.T, c *created) { c.makeLayer(t) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCreated(t)
			p, err := PlanUndo(t.Context(), c.z, c.undo)
			if err != nil {
				t.Fatal(err)
			}
			harm(t, c)
			if _, err := p.Apply(t.Context(), c.z, c.undo.Log); !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "run the command again") {
				t.Errorf("%v", err)
			}
			if left := c.left(t); len(left) != 2 {
				t.Errorf("left: %q", left)
			}
		})
	}
}
