//go:build vm

package zfs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// open opens the device for one test.
func open(t *testing.T) *Handle {
	t.Helper()
	h, err := Open()
	check(t, err)
	t.Cleanup(func() { check(t, h.Close()) })
	return h
}

// testPool is the pool that TMPDIR lies on.
func testPool(t *testing.T) string {
	t.Helper()
	dataset, err := DatasetOf(t.TempDir())
	check(t, err)
	return PoolOf(dataset)
}

// fresh is the name of a dataset that is made by zfs(8) and goes, with all
// below it, when the test ends.
func fresh(t *testing.T, options ...string) string {
	t.Helper()
	name := unused(t)
	cli(t, "zfs", append(append([]string{"create", "-o", "mountpoint=legacy"}, options...), name)...)
	return name
}

// unused is the name of a dataset that is not there yet, and goes when the
// test ends.
func unused(t *testing.T) string {
	t.Helper()
	random := make([]byte, 4)
	_, err := rand.Read(random)
	check(t, err)
	name := testPool(t) + "/zfstest-" + hex.EncodeToString(random)
	t.Cleanup(func() {
		if exec.Command("zfs", "list", name).Run() == nil {
			cli(t, "zfs", "destroy", "-R", name)
		}
	})
	return name
}

// cli runs a command and returns what it says.
func cli(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// get is a property as zfs(8) has it.
func get(t *testing.T, dataset, property string) string {
	t.Helper()
	return cli(t, "zfs", "get", "-Hp", "-o", "value", property, dataset)
}

// mounted mounts a dataset for as long as the test runs.
func mounted(t *testing.T, dataset string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "zfs-")
	check(t, err)
	t.Cleanup(func() { check(t, os.Remove(dir)) })
	check(t, MountDataset(dataset, dir))
	t.Cleanup(func() {
		if err := mount.Unmount(dir); err != nil {
			t.Logf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill writes n random bytes.
func fill(dir, file string, n int) error {
	data := make([]byte, n)
	if _, err := rand.Read(data); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// syncPool waits for the open transaction group of the test's pool.
func syncPool(t *testing.T, h *Handle) {
	t.Helper()
	check(t, h.SyncPool(within(t, time.Minute), testPool(t)))
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// wantError checks that an error is all of these.
func wantError(t *testing.T, err error, targets ...error) *Error {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %q", err, target)
		}
	}
	if e := asError(err); e != nil {
		t.Log(e)
		return e
	}
	return &Error{}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// wantRefused checks that the kernel said no; with which errno differs
// between versions.
func wantRefused(t *testing.T, err error) {
	t.Helper()
	if e := wantError(t, err); e.Errno == 0 {
		t.Errorf("not refused: %v", err)
	}
}
