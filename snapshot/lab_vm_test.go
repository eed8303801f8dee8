//go:build vm

package snapshot

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// lab is a store's datasets on the lab's pool: records above layers, limited layers below.
type lab struct {
	t       *testing.T
	zfs     *zfs.Handle
	records string
	layers  string
	state   string // the state directory of rollbacks
}

func newLab(t *testing.T) lab {
	t.Helper()
	z, err := zfs.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	records := "tank/snap-" + strings.ToLower(t.Name()[4:min(len(t.Name()), 30)])
	l := lab{t, z, records, records + "/layers", t.TempDir()}
	l.create(l.records, nil)
	t.Cleanup(func() { l.zfsTool("destroy", "-R", l.records) })
	l.create(l.layers, nil)
	return l
}

// zfsTool runs zfs(8): an operator, or another program.
func (l lab) zfsTool(args ...string) string {
	l.t.Helper()
	out, err := exec.Command("zfs", args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("zfs %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// zpool runs zpool(8).
func (l lab) zpool(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("zpool", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("zpool %v: %v\n%s", args, err, out)
	}
}

func (l lab) create(name string, more zfs.Properties) {
	l.t.Helper()
	props := zfs.Properties{"mountpoint": zfs.String("legacy")}
	for k, v := range more {
		props[k] = v
	}
	if err := l.zfs.CreateFilesystem(name, props); err != nil {
		l.t.Fatal(err)
	}
}

// limited makes a limited layer's dataset.
func (l lab) limited(n int) string {
	l.t.Helper()
	name := fmt.Sprintf("%s/LAYER%021d", l.layers, n)
	l.create(name, zfs.Properties{quota.LayerProperty: zfs.String(fmt.Sprint("layer-", n))})
	return name
}

// mountDataset mounts a dataset while fn works in it.
func (l lab) mountDataset(dataset string, fn func(dir string)) {
	l.t.Helper()
	dir := l.t.TempDir()
	if err := zfs.MountDataset(dataset, dir); err != nil {
		l.t.Fatal(err)
	}
	defer func() {
		if err := mount.Unmount(dir); err != nil {
			l.t.Error(err)
		}
	}()
	fn(dir)
}

// write writes a text to a dataset, and read returns it.
func (l lab) write(dataset, text string) {
	l.t.Helper()
	l.mountDataset(dataset, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "text"), []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
	})
}

func (l lab) read(dataset string) (text string) {
	l.t.Helper()
	l.mountDataset(dataset, func(dir string) {
		raw, err := os.ReadFile(filepath.Join(dir, "text"))
		if err != nil && !os.IsNotExist(err) {
			l.t.Fatal(err)
		}
		text = string(raw)
	})
	return text
}

func (l lab) writeAll(text string, datasets ...string) {
	l.t.Helper()
	for _, dataset := range datasets {
		l.write(dataset, text)
	}
}

func (l lab) wantAll(text string, datasets ...string) {
	l.t.Helper()
	for _, dataset := range datasets {
		if got := l.read(dataset); got != text {
			l.t.Errorf("%s holds %q, want %q", dataset, got, text)
		}
	}
}

// take takes a manual snapshot.
func (l lab) take() string {
	l.t.Helper()
	name, err := TakeManually(context.Background(), l.zfs, l.layers, l.records, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return name
}

func (l lab) list() []Info {
	l.t.Helper()
	infos, err := List(l.zfs, l.layers)
	if err != nil {
		l.t.Fatal(err)
	}
	return infos
}

func (l lab) names() []string {
	l.t.Helper()
	var names []string
	for _, info := range l.list() {
		names = append(names, info.Name)
	}
	return names
}

func (l lab) exists(name string) bool {
	l.t.Helper()
	there, err := l.zfs.Exists(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return there
}

// startScheduler starts a Scheduler on the lab's datasets.
func (l lab) startScheduler(c Config) *Scheduler {
	l.t.Helper()
	c.ZFS, c.Layers, c.Records = l.zfs, l.layers, l.records
	k, err := New(c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := k.Close(context.Background()); err != nil {
			l.t.Error(err)
		}
	})
	return k
}

func (l lab) takeEvent(k *Scheduler, e Event) {
	l.t.Helper()
	if err := k.Take(context.Background(), e); err != nil {
		l.t.Fatal(err)
	}
}

func (l lab) plan(name string, o Options) *Plan {
	l.t.Helper()
	o.StateDir = l.state
	p, err := PlanRollback(l.zfs, l.layers, name, o)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// back rolls back to a snapshot.
func (l lab) back(name string, o Options) {
	l.t.Helper()
	p := l.plan(name, o)
	if err := p.Do(context.Background()); err != nil {
		l.t.Fatalf("%v\n%s", err, p)
	}
	if property, err := PendingRollback(l.zfs, l.layers); err != nil || property != "" {
		l.t.Fatalf("after the rollback the property is %q, %v", property, err)
	}
}
