//go:build vm

package memory

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/docker/docker/daemon/graphdriver"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
)

var entries = flag.Int("entries", 5_000, "about how many entries each tar has")

// maxGrowth is what a layer tar may add to the memory of a door's program, in KiB.
const maxGrowth = 64 << 10

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readPeak returns the most memory that a process has had, in KiB.
func readPeak(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, found := strings.Cut(string(raw), "VmHWM:")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		t.Fatalf("the kernel does not say how much memory a process has had:\n%s", raw)
	}
	peak, err := strconv.Atoi(fields[0])
	must(t, err)
	return peak
}

// checkPeaks has a door unpack and remove a layer of each tar, and compares the most memory that
// it has had with the most before all of them: a removed layer is deleted later.
func checkPeaks(t *testing.T, p *pluginproc.Process, unpack func(t *testing.T, h hostileTar)) {
	t.Helper()
	before := readPeak(t, p.Pid())
	for _, h := range hostileTars {
		t.Run(h.name, func(t *testing.T) {
			unpack(t, h)
			growth := readPeak(t, p.Pid()) - before
			t.Logf("%d KiB more than before all tars", growth)
			if growth > maxGrowth {
				t.Errorf("the program took %d KiB more", growth)
			}
		})
	}
}

// baseTar is the layer below the hostile ones.
func baseTar(t *testing.T) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	must(t, errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755}), w.Close()))
	return raw.Bytes()
}

// TestPlugin unpacks the tars in the plugin.
func TestPlugin(t *testing.T) {
	p, err := pluginproc.Start("--log-level", "panic")
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(p.Stop(), p.Remove())) })
	driver, err := mobyproxy.Open(p.Socket, graphdriver.Options{Root: filepath.Join(t.TempDir(), "plugin")})
	must(t, err)
	t.Cleanup(func() { must(t, driver.Cleanup()) })
	apply := func(id, parent string, r io.Reader) error {
		if err := driver.Create(id, parent, nil); err != nil {
			return err
		}
		_, err := driver.ApplyDiff(id, parent, r)
		return err
	}
	must(t, apply("base", "", bytes.NewReader(baseTar(t))))
	checkPeaks(t, p, func(t *testing.T, h hostileTar) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(h.writeTo(w, *entries)) }()
		must(t, apply("hostile", "base", r))
		size, err := driver.DiffSize("hostile", "base")
		must(t, err)
		t.Logf("%d bytes", size)
		must(t, driver.Remove("hostile"))
	})
	must(t, driver.Remove("base"))
}

// TestSnapshotter has containerd's code unpack the tars into the snapshotter's mounts.
func TestSnapshotter(t *testing.T) {
	dir := t.TempDir()
	p, err := pluginproc.StartSnapshotter("--root", filepath.Join(dir, "snapshotter"), "--log-level", "error")
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(p.Stop(), p.Remove())) })
	client, err := snapclient.Dial(p.Socket, "overlayzfs")
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	ctx := namespaces.WithNamespace(t.Context(), "memory")
	base := baseTar(t)
	must(t, snapclient.Unpack(ctx, client, "base", "", bytes.NewReader(base), int64(len(base))))
	checkPeaks(t, p, func(t *testing.T, h hostileTar) { unpackSnapshot(ctx, t, client, h, dir) })
	must(t, client.Remove(ctx, "base"))
}

// unpackSnapshot unpacks a tar and removes the snapshot. containerd refuses some of the tars.
func unpackSnapshot(ctx context.Context, t *testing.T, client *snapclient.Client, h hostileTar, dir string) {
	t.Helper()
	f, err := os.CreateTemp(dir, "tar-")
	must(t, err)
	defer func() { must(t, errors.Join(f.Close(), os.Remove(f.Name()))) }()
	must(t, h.writeTo(f, *entries))
	st, err := f.Stat()
	must(t, err)
	if err := snapclient.Unpack(ctx, client, "hostile", "base", f, st.Size()); err != nil {
		t.Logf("containerd refuses it: %v", err)
		must(t, client.Remove(ctx, snapclient.ExtractKey("hostile")))
		return
	}
	usage, err := client.Usage(ctx, "hostile")
	must(t, err)
	t.Logf("%d files", usage.Inodes)
	must(t, client.Remove(ctx, "hostile"))
}
