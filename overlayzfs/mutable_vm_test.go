//go:build vm

package overlayzfs

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

func requireVolatile(t *testing.T, dir string, want bool) {
	t.Helper()
	infos, err := mount.At(dir)
	must(t, err)
	if len(infos) != 1 || strings.Contains(infos[0].VFSOptions, "volatile") != want {
		t.Errorf("mounts on %s: %+v, want volatile: %t", dir, infos, want)
	}
}

// TestBuildStepsAreVolatile and containers are not.
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

	must(t, d.Create(context.Background(), "box", "base", CreateOptions{ReadWrite: true}))
	change(t, d, "box", func(dir string) {
		requireVolatile(t, dir, false)
		write(t, dir+"/file", "x")
	})
	remove(t, d, "step")
	remove(t, d, "box")
	if left := list(t, d.home.own(mutableName)); len(left) > 0 {
		t.Errorf("markers: %q", left)
	}
}

// TestAMarkOfTheKernelsIsNoObstacle: the machine went down during a build step,
// and the layer is mounted by a kernel or driver that does without volatile.
func TestAMarkOfTheKernelsIsNoObstacle(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "step", "base")
	must(t, os.MkdirAll(d.home.layer("step").work()+"/work/incompat/volatile/dirty", 0o700))
	d.canVolatile = false
	change(t, d, "step", func(dir string) { requireVolatile(t, dir, false) })
}
