//go:build vm

package overlayzfs

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

func requireVolatile(t *testing.T, dir string, want bool) {
	t.Helper()
	infos, err := mount.ListAt(dir)
	must(t, err)
	if len(infos) != 1 || strings.Contains(infos[0].VFSOptions, "volatile") != want {
		t.Errorf("mounts on %s: %+v, want volatile: %t", dir, infos, want)
	}
}

// TestBuildStepsAreVolatile makes sure that build steps are mounted volatile, and containers not.
func TestBuildStepsAreVolatile(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(string) {})
	create(t, d, "step", "base")
	for range 2 { // the kernel's mark is in the way of the second mount
		change(t, d, "step", func(dir string) {
			requireVolatile(t, dir, true)
			write(t, dir+"/file", "x")
		})
	}
	d = crash(t, d)
	get(t, d, "step")
	d = crash(t, d) // with a mark left behind and the mount still there
	put(t, d, "step")
	readAll(t, d, "step", "base") // recorded: what comes now is not a step's
	change(t, d, "step", func(dir string) { requireVolatile(t, dir, false) })

	// A layer that becomes durable with its child is volatile until then.
	must(t, d.Create(context.Background(), "box-init", "base", CreateOptions{ReadWrite: true}))
	for range 2 {
		change(t, d, "box-init", func(dir string) {
			requireVolatile(t, dir, true)
			write(t, dir+"/file", "x")
		})
	}
	must(t, d.Create(context.Background(), "box", "box-init", CreateOptions{ReadWrite: true, Recorded: true}))
	change(t, d, "box", func(dir string) {
		requireVolatile(t, dir, false)
		write(t, dir+"/file", "x")
	})
	remove(t, d, "step")
	remove(t, d, "box")
	remove(t, d, "box-init")
	if left := list(t, d.home.privatePath(mutableDir)); len(left) > 0 {
		t.Errorf("markers: %q", left)
	}
}

// TestMappedWritesOfAStepAreKept writes through mapped memory, as linkers and databases do. A
// snapshot shows the state after a power cut: without data in memory that ZFS has not seen.
func TestMappedWritesOfAStepAreKept(t *testing.T) {
	o := testOptions
	o.Dataset = dataset(t, "mapped", "sync=disabled")
	d := openStoreIn(t, filepath.Join(plainDir(t), "home"), o)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { writeMapped(t, dir+"/file") })
	create(t, d, "step", "base")
	change(t, d, "step", func(dir string) { writeMapped(t, dir+"/other") })

	zfsCommand(t, "snapshot", o.Dataset+"@cut")
	look := plainDir(t)
	must(t, mount.Mount{Type: "zfs", Source: o.Dataset + "@cut", Target: look, Flags: unix.MS_RDONLY}.Do())
	defer func() { must(t, mount.Unmount(look)) }()
	for _, file := range []string{"base/diff/file", "step/diff/other"} {
		raw, err := os.ReadFile(filepath.Join(look, file))
		if err != nil || !bytes.Equal(raw, bytes.Repeat([]byte("mapped! "), 64<<10/8)) {
			t.Errorf("%s has %d bytes, begins with %.8q, %v", file, len(raw), raw, err)
		}
	}
}

func writeMapped(t *testing.T, path string) {
	t.Helper()
	const size = 64 << 10
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(size))
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	copy(memory, bytes.Repeat([]byte("mapped! "), size/8))
	must(t, unix.Munmap(memory))
}

// TestAMarkOfTheKernelsIsNoObstacle crashes during a build step. Then a kernel or driver
// without volatile mounts the layer.
func TestAMarkOfTheKernelsIsNoObstacle(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "step", "base")
	must(t, os.MkdirAll(d.home.layer("step").work()+"/work/incompat/volatile/dirty", 0o700))
	d.hasVolatile = false
	change(t, d, "step", func(dir string) { requireVolatile(t, dir, false) })
}
