//go:build vm

package snapshotter

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

const testLimit = 40 << 20

// fill writes what does not compress until the file is that long or the limit
// says no.
func fill(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	// In large pieces: near a limit ZFS lets each wait for a transaction group.
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(rand.Reader, size), make([]byte, min(size, 8<<20)))
	return errors.Join(err, f.Close())
}

func TestALimitedContainer(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	o := Options{Home: home, Limits: Limits{Default: overlayzfs.Limits{Bytes: testLimit}}}
	s := openStore(t, o)
	commitLayer(t, s, "base", "", func(dir string) { write(t, filepath.Join(dir, "a"), "1") })
	key := "k8s.io/3/" + strings.Repeat("ab", 32)
	dir := mounted(t, prepare(t, s, key, "base", nil))
	requireFile(t, filepath.Join(dir, "a"), "1")
	write(t, filepath.Join(dir, "a"), "changed")
	if err := fill(filepath.Join(dir, "big"), 2*testLimit); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("twice the limit was written: %v", err)
	}
	requireHeld(t, s, key)
	if err := s.Commit(t.Context(), "image", key); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("commit of a limited snapshot: %v", err)
	}
	// The daemon comes and goes; the container writes on, and its limit holds.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if err := fill(filepath.Join(dir, "more"), testLimit); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("the limit was passed after a restart: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "big")); err != nil {
		t.Error(err)
	}
	unmount(t, dir)
	again, err := s.Mounts(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir = mounted(t, again)
	requireFile(t, filepath.Join(dir, "a"), "changed")
	unmount(t, dir)
}

// requireHeld makes sure that a snapshot that is full says so.
func requireHeld(t *testing.T, s *Snapshotter, key string) {
	t.Helper()
	if err := core(t, s).WaitTxg(t.Context()); err != nil {
		t.Fatal(err)
	}
	usage, err := s.Usage(t.Context(), key)
	if err != nil || usage.Size > testLimit+testLimit/10 || usage.Inodes == 0 {
		t.Errorf("usage %+v, %v", usage, err)
	}
}

func TestALimitByLabel(t *testing.T) {
	s := openStore(t, Options{})
	image(t, s, "base")
	dir := mounted(t, prepare(t, s, "by label", "base", map[string]string{sizeLabel: "20M"}))
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || int64(st.Blocks)*st.Bsize > 20<<20 {
		t.Errorf("%d bytes in all, %v", int64(st.Blocks)*st.Bsize, err)
	}
	unmount(t, dir)
	if _, err := s.Prepare(t.Context(), "on nothing", "", snapshots.WithLabels(map[string]string{sizeLabel: "20M"})); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a limit on nothing: %v", err)
	}
	requireRealAgreement(t, s)
}
