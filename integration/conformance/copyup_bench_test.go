//go:build vm

package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/daemon/graphdriver"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// copyUps is how many files of the image a container changes, and warmUps how
// many before, so that none is measured that is the first of all.
const (
	copyUps = 200
	warmUps = 20
)

// wantedRatio is what our driver promises with sync=disabled over overlay2 with
// sync=standard.
const wantedRatio = 20

// stack is two layers of a driver, the upper one mounted.
type stack struct {
	mounted string // the upper layer
	remove  func() error
}

// BenchmarkCopyUp changes files of the image in a container's layer for the
// first time: overlayfs copies each up, and ZFS waits for a transaction group at
// that unless sync=disabled. What counts is the ratio within one run.
func BenchmarkCopyUp(b *testing.B) {
	spent := map[string]time.Duration{}
	for range b.N {
		for _, c := range []struct {
			driver, sync string
			open         func(dir string, fill func(dir string) error) (*stack, error)
		}{
			{"overlayzfs", "disabled", stackOfOurs},
			{"overlay2", "standard", stackOfOverlay2},
			{"overlayzfs", "standard", stackOfOurs},
			{"overlay2", "disabled", stackOfOverlay2},
		} {
			spent[c.driver+" "+c.sync] += copyUpOn(b, c.sync, c.open)
		}
	}
	for name, sum := range spent {
		driver, sync, _ := strings.Cut(name, " ")
		b.ReportMetric(float64(sum.Microseconds())/float64(b.N*copyUps), "µs/copy-up-"+driver+"-"+sync)
		b.Logf("%-10s sync=%-8s %d copy-ups: %v", driver, sync, copyUps, (sum / time.Duration(b.N)).Round(time.Millisecond))
	}
	ratio := float64(spent["overlay2 standard"]) / float64(spent["overlayzfs disabled"])
	b.ReportMetric(0, "ns/op") // of all four together it means nothing
	b.ReportMetric(ratio, "x-faster")
	b.Logf("overlayzfs with sync=disabled is %.0f times as fast as overlay2 with sync=standard", ratio)
	if ratio < wantedRatio {
		b.Errorf("it is %.1f times as fast, want %d", ratio, wantedRatio)
	}
}

// copyUpOn measures on a dataset of its own.
func copyUpOn(b *testing.B, sync string, open func(dir string, fill func(dir string) error) (*stack, error)) time.Duration {
	b.Helper()
	dir, leave := freshDataset(b, sync)
	defer leave()
	s, err := open(dir, fillWithFiles)
	if err != nil {
		b.Fatal(err)
	}
	err = copyUp(s.mounted, copyUps, copyUps+warmUps)
	begin := time.Now()
	err = errors.Join(err, copyUp(s.mounted, 0, copyUps))
	took := time.Since(begin)
	if err != nil {
		b.Error(err)
	}
	if err := s.remove(); err != nil {
		b.Error(err)
	}
	return took
}

// freshDataset makes a dataset beside that of TMPDIR, mounted outside of it.
func freshDataset(b *testing.B, sync string) (dir string, leave func()) {
	b.Helper()
	const name = "tank/copy-up"
	dir, err := os.MkdirTemp("/run", "copy-up-")
	if err != nil {
		b.Fatal(err)
	}
	command(b, "zfs", "create", "-o", "mountpoint=legacy", "-o", "sync="+sync, name)
	command(b, "mount", "-t", "zfs", name, dir)
	return dir, func() {
		command(b, "umount", dir)
		command(b, "zfs", "destroy", name)
		if err := os.Remove(dir); err != nil {
			b.Error(err)
		}
	}
}

func command(b *testing.B, name string, args ...string) {
	b.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

func file(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("file-%03d", n)) }

// fillWithFiles writes the image's files.
func fillWithFiles(dir string) error {
	for n := range copyUps + warmUps {
		if err := os.WriteFile(file(dir, n), make([]byte, 4096), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyUp opens files for writing, which is what copies them up.
func copyUp(dir string, from, to int) error {
	for n := from; n < to; n++ {
		f, err := os.OpenFile(file(dir, n), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// onDisk waits until the image's files are on disk: a copy-up waits for one that
// is not, whatever sync says.
func onDisk() error { return exec.Command("zpool", "sync", "tank").Run() }

// stackOfOurs calls the driver in this process: the socket is no part of a
// copy-up.
func stackOfOurs(dir string, fill func(dir string) error) (*stack, error) {
	ctx := context.Background()
	d, err := overlayzfs.Open(ctx, dir, overlayzfs.Options{})
	if err != nil {
		return nil, err
	}
	if err := d.Create(ctx, "image", "", overlayzfs.CreateOptions{}); err != nil {
		return nil, err
	}
	base, err := d.Get(ctx, "image", "")
	if err != nil {
		return nil, err
	}
	if err := fill(base); err != nil {
		return nil, err
	}
	if err := d.Put(ctx, "image"); err != nil {
		return nil, err
	}
	if err := d.Create(ctx, "container", "image", overlayzfs.CreateOptions{ReadWrite: true}); err != nil {
		return nil, err
	}
	if err := onDisk(); err != nil {
		return nil, err
	}
	mounted, err := d.Get(ctx, "container", "")
	return &stack{mounted, func() error {
		if err := d.Cleanup(ctx); err != nil {
			return err
		}
		return d.Close()
	}}, err
}

func stackOfOverlay2(dir string, fill func(dir string) error) (*stack, error) {
	d, err := graphdriver.GetDriver("overlay2", nil, graphdriver.Options{Root: dir})
	if err != nil {
		return nil, err
	}
	if err := d.Create("image", "", nil); err != nil {
		return nil, err
	}
	base, err := d.Get("image", "")
	if err != nil {
		return nil, err
	}
	if err := fill(base); err != nil {
		return nil, err
	}
	if err := d.Put("image"); err != nil {
		return nil, err
	}
	if err := d.CreateReadWrite("container", "image", nil); err != nil {
		return nil, err
	}
	if err := onDisk(); err != nil {
		return nil, err
	}
	mounted, err := d.Get("container", "")
	return &stack{mounted, func() error {
		if err := d.Put("container"); err != nil {
			return err
		}
		return d.Cleanup()
	}}, err
}
