//go:build vm

package overlayzfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// unlimitedStore makes a store with a container without a limit, whose layer has files of
// every kind.
func unlimitedStore(t *testing.T, name string) *Driver {
	t.Helper()
	d := limitedStore(t, name)
	limited(t, d, "box")
	change(t, d, "box", func(dir string) {
		must(t, os.RemoveAll(dir+"/tree")) // a whiteout, and then an opaque directory
		must(t, os.Mkdir(dir+"/tree", 0o1750))
		must(t, os.Remove(dir+"/old"))
		write(t, dir+"/data/file", strings.Repeat("content", 5000))
		must(t, os.Link(dir+"/data/file", dir+"/data/hard"))
		must(t, os.Symlink("file", dir+"/data/soft"))
		must(t, unix.Mkfifo(dir+"/data/fifo", 0o620))
		must(t, unix.Setxattr(dir+"/data/file", "user.note", []byte("kept"), 0))
		must(t, os.Chmod(dir+"/data/file", 0o4751))
		must(t, os.Lchown(dir+"/data/soft", 12, 34))
		must(t, os.Truncate(dir+"/data/file", 9<<20)) // with a hole
		must(t, os.Chmod(dir, 0o711))
	})
	return d
}

// giveLimit sets the limit of the layer "box" and requires that its content is as before.
func giveLimit(t *testing.T, d *Driver, options ...string) {
	t.Helper()
	before := readAll(t, d, "box", "base")
	must(t, d.SetLimits(context.Background(), "box", storageOpt(options)))
	requireSameTar(t, d, before)
}

func requireSameTar(t *testing.T, d *Driver, before []byte) {
	t.Helper()
	if now := readAll(t, d, "box", "base"); !bytes.Equal(before, now) {
		t.Errorf("the layer's tar changed: %q, before %q", names(t, now), names(t, before))
	}
}

// requireLimit requires what `overlayzfs ls` would show of the layer "box".
func requireLimit(t *testing.T, d *Driver, want *Limits) {
	t.Helper()
	view, err := OpenDatasetReadOnly(d.dataset)
	must(t, err)
	defer func() { must(t, view.Close()) }()
	layers, err := view.Layers()
	must(t, err)
	for _, l := range layers {
		switch {
		case l.ID != "box":
		case l.Damaged != nil:
			t.Error(l.Damaged)
		case (l.Limit != nil) != (want != nil) || want != nil && l.Limit.Limits != *want:
			t.Errorf("the limit is %+v, want %+v", l.Limit, want)
		}
	}
}

func TestALimitIsGivenRaisedAndTakenAway(t *testing.T) {
	ctx := context.Background()
	d := unlimitedStore(t, "given")
	giveLimit(t, d, "size=20M", "inodes=5000")
	requireLimit(t, d, &Limits{Bytes: 20 * mib, Inodes: 5000})
	requireAtRest(t, d, "box")
	if made := children(t, d); len(made) != 1 {
		t.Errorf("one limited layer has the datasets %q", made)
	}
	requireTidyWithLimit(t, d)
	dir := get(t, d, "box")
	if written, err := fillUp(t, dir+"/big"); !errors.Is(err, unix.EDQUOT) || written > 21*mib {
		t.Errorf("wrote %d bytes of 20M: %v", written, err)
	}
	must(t, d.SetLimits(ctx, "box", map[string]string{"size": "30M"}))
	requireLimit(t, d, &Limits{Bytes: 30 * mib, Inodes: 5000})
	if written, err := fillUp(t, dir+"/big"); !errors.Is(err, unix.EDQUOT) || written < 21*mib {
		t.Errorf("wrote %d bytes of 30M: %v", written, err)
	}
	must(t, d.SetLimits(ctx, "box", map[string]string{"size": "0", "inodes": "0"}))
	requireLimit(t, d, &Limits{})
	writeNoise(t, dir+"/big", 40*mib)
	must(t, d.zfs.SyncPool(ctx, d.pool()))
	if err := d.SetLimits(ctx, "box", map[string]string{"size": "25M"}); !errors.Is(err, fault.LimitReached) {
		t.Errorf("a limit below what is there: %v", err)
	}
	must(t, os.Remove(dir+"/big"))
	must(t, d.zfs.SyncPool(ctx, d.pool()))
	must(t, d.SetLimits(ctx, "box", map[string]string{"size": "25M"}))
	requireLimit(t, d, &Limits{Bytes: 25 * mib})
	requireSameDevice(t, dir)
	put(t, d, "box")
	remove(t, d, "box")
	if left := children(t, d); len(left) > 0 {
		t.Errorf("datasets were left: %q", left)
	}
	requireTidy(t, d, "base")
}

// writeNoise writes a file that does not compress.
func writeNoise(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	must(t, errors.Join(err, f.Close()))
}

// requireTidyWithLimit is requireTidy with a limited layer "box".
func requireTidyWithLimit(t *testing.T, d *Driver) {
	t.Helper()
	must(t, errors.Join(d.WaitReaper(t.Context()), d.limits.DropSpares()))
	for name, want := range map[string]int{newDir: 0, trashDir: 0, limitsDir: 1} {
		if left := list(t, d.home.privatePath(name)); len(left) != want {
			t.Errorf("%s holds %q", name, left)
		}
	}
	if links := list(t, d.home.path(linkDir)); len(links) != 2 {
		t.Errorf("short links of two layers: %q", links)
	}
}

// TestALimitThatCannotBeGiven leaves everything as it was.
func TestALimitThatCannotBeGiven(t *testing.T) {
	ctx := context.Background()
	d := unlimitedStore(t, "refused")
	must(t, d.Create(ctx, "image", "base", CreateOptions{}))
	change(t, d, "image", func(dir string) { write(t, dir+"/step", "x") })
	set := func(id, size string) error { return d.SetLimits(ctx, id, map[string]string{"size": size}) }
	for id, class := range map[string]fault.Class{"base": fault.Unsupported, "image": fault.Unsupported, "nobody": fault.NotFound} {
		if err := set(id, "50M"); !errors.Is(err, class) {
			t.Errorf("a limit for %s: %v", id, err)
		}
	}
	change(t, d, "box", func(dir string) {
		writeNoise(t, dir+"/big", 5*mib)
		for i := range 20 {
			write(t, dir+"/many/"+strconv.Itoa(i), "x")
		}
	})
	before := readAll(t, d, "box", "base")
	for _, options := range []map[string]string{{"size": "3M"}, {"inodes": "20"}} {
		if err := d.SetLimits(ctx, "box", options); !errors.Is(err, fault.LimitReached) {
			t.Errorf("a limit below what is there: %v", err)
		}
	}
	must(t, set("box", "0")) // it has none
	requireSameTar(t, d, before)
	dir := get(t, d, "box")
	if err := set("box", "50M"); !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "stop the container") {
		t.Errorf("a limit for a mounted layer: %v", err)
	}
	write(t, dir+"/after", "x")
	held, err := os.Open(dir + "/after")
	must(t, err)
	put(t, d, "box") // the mount is detached
	if err := set("box", "50M"); !errors.Is(err, fault.Busy) {
		t.Errorf("a limit for a layer whose mount lingers: %v", err)
	}
	must(t, held.Close())
	requireLimit(t, d, nil)
	if made := children(t, d); len(made) > 0 {
		t.Errorf("datasets were made: %q", made)
	}
	requireTidy(t, d, "base", "image", "box")
}

// TestAStartInterruptsACopy has a Get come while a first limit waits for the layer's lock. Get
// does not wait for a copy, and the layer has no limit.
func TestAStartInterruptsACopy(t *testing.T) {
	ctx := context.Background()
	d := unlimitedStore(t, "interrupted")
	before := readAll(t, d, "box", "base")
	release, err := d.layers.Lock(ctx, "box")
	must(t, err)
	limit, started := make(chan error, 1), make(chan error, 1)
	go func() { limit <- d.SetLimits(ctx, "box", map[string]string{"size": "50M"}) }()
	for known := 0; known == 0; {
		d.carries.mu.Lock()
		known = len(d.carries.all)
		d.carries.mu.Unlock()
	}
	go func() {
		_, err := d.Get(ctx, "box", "")
		started <- err
	}()
	for interrupted := false; !interrupted; {
		interrupted = d.carries.isInterrupted("box")
	}
	release()
	if err := <-limit; !errors.Is(err, fault.Busy) {
		t.Errorf("a limit for a layer that is started: %v", err)
	}
	must(t, <-started)
	put(t, d, "box")
	requireSameTar(t, d, before)
	requireLimit(t, d, nil)
	requireTidy(t, d, "base", "box")
}

// isInterrupted reports whether all carries of a layer are interrupted.
func (c *carries) isInterrupted(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for call := range c.all {
		if call.id == id && call.ctx.Err() == nil {
			return false
		}
	}
	return true
}
