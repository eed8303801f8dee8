//go:build vm

package dataroot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/zfs"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("zfs", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("zfs %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// newMove makes a data-root with one of each kind of file, a copy of it to compare with, and a
// dataset.
func newMove(t *testing.T) (m Move, original string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "move-") // another file system than the dataset's
	check(t, err)
	z, err := zfs.Open()
	check(t, err)
	m = Move{ZFS: z, Root: filepath.Join(dir, "docker"), Dataset: "tank/" + filepath.Base(dir), StateDir: dir}
	tool(t, "create", "-o", "mountpoint=none", "-o", "xattr=sa", "-o", "acltype=posix", m.Dataset)
	t.Cleanup(func() {
		for _, at := range []string{m.Root, m.stagingDir()} {
			if on, err := mount.ListAt(at); err == nil && len(on) > 0 {
				check(t, mount.Unmount(at))
			}
		}
		tool(t, "destroy", m.Dataset)
		check(t, errors.Join(z.Close(), os.RemoveAll(dir)))
	})
	fill(t, m.Root)
	original = filepath.Join(dir, "original")
	if out, err := exec.Command("cp", "-a", m.Root, original).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return m, original
}

func fill(t *testing.T, root string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(root, name) }
	check(t, os.MkdirAll(in("overlay2/upper/diff"), 0o750))
	check(t, os.MkdirAll(in("volumes/db/_data"), 0o701))
	check(t, os.WriteFile(in("volumes/metadata.db"), nil, 0o600))
	check(t, os.WriteFile(in("volumes/db/_data/text"), []byte("text"), 0o640))
	check(t, os.WriteFile(in("volumes/db/_data/noise"), noise(2<<20), 0o600))
	check(t, os.Link(in("volumes/db/_data/text"), in("volumes/db/_data/link")))
	check(t, os.Symlink("../nowhere", in("volumes/db/_data/symlink")))
	check(t, unix.Mkfifo(in("volumes/db/_data/fifo"), 0o604))
	check(t, unix.Mknod(in("overlay2/upper/diff/gone"), overlayfs.WhiteoutMode, overlayfs.WhiteoutNum))
	check(t, os.Link(in("overlay2/upper/diff/gone"), in("overlay2/upper/diff/gone2")))
	for name, value := range map[string]string{overlayfs.OpaqueXattr: "y", overlayfs.RedirectXattr: "/other", "trusted.overlay.origin": "o", "user.mine": "v"} {
		dir := in("overlay2/upper/diff")
		if strings.HasPrefix(name, "user.") {
			dir = in("volumes/db/_data/text")
		}
		check(t, unix.Setxattr(dir, name, []byte(value), 0))
	}
	sparse, err := os.Create(in("volumes/db/_data/sparse"))
	check(t, err)
	_, err = sparse.WriteAt([]byte("end"), 8<<20)
	check(t, errors.Join(err, sparse.Close()))
	check(t, os.Chown(in("volumes/db/_data/sparse"), 1000, 1001))
}

// noise returns bytes that do not compress.
func noise(n int) []byte {
	raw := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(raw) // never fails
	return raw
}

// requireSame fails the test unless both directories hold the same.
func requireSame(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.Open(got)
	check(t, err)
	defer a.Close()
	b, err := os.Open(want)
	check(t, err)
	defer b.Close()
	differ, err := treediff.Exact(t.Context(), a, b, false)
	check(t, err)
	if len(differ.Changes) > 0 {
		t.Fatalf("%s and %s: %v", got, want, differ.Changes)
	}
}

func requireMoved(t *testing.T, m Move, original string) {
	t.Helper()
	requireSame(t, m.Root, original)
	requireSame(t, m.Root+Suffix, original)
	on, err := mount.ListAt(m.Root)
	check(t, err)
	if len(on) != 1 || on[0].Source != m.Dataset {
		t.Fatalf("on the data-root is %v", on)
	}
	if got := tool(t, "get", "-H", "-o", "value", "mountpoint,canmount,"+MovingProperty, m.Dataset); got != m.Root+"\non\n-" {
		t.Errorf("the dataset has\n%s", got)
	}
	entries, err := os.ReadDir(filepath.Dir(m.Root))
	check(t, err)
	if len(entries) != 3 {
		t.Errorf("beside the data-root lies %v", entries)
	}
}

// TestMoveDies ends a move before each of its steps, twice, and lets it end then.
func TestMoveDies(t *testing.T) {
	m, original := newMove(t)
	var steps []string
	m.before = func(step string) error {
		steps = append(steps, step)
		return nil
	}
	check(t, m.Do(t.Context()))
	requireMoved(t, m, original)
	if len(steps) < 9 {
		t.Fatalf("the steps are %q", steps)
	}
	for _, die := range steps {
		t.Run(die, func(t *testing.T) {
			m, original := newMove(t)
			killed := errors.New("killed")
			m.before = func(step string) error {
				if step == die {
					return killed
				}
				return nil
			}
			for range 2 {
				if err := m.Do(t.Context()); !errors.Is(err, killed) {
					t.Fatal(err)
				}
				m.requireWhole(t, original)
			}
			m.before = nil
			check(t, m.Do(t.Context()))
			requireMoved(t, m, original)
		})
	}
}

// requireWhole fails the test unless the old content is in one of its two places, with nothing
// that dockerd could take for an empty data-root, and with no part of a copy that a boot mounts.
func (m Move) requireWhole(t *testing.T, original string) {
	t.Helper()
	info, err := os.Lstat(m.Root + Suffix)
	kept := err == nil && info.IsDir()
	if kept {
		requireSame(t, m.Root+Suffix, original)
	} else {
		requireSame(t, m.Root, original)
	}
	mountpoint := tool(t, "get", "-H", "-o", "value", "mountpoint", m.Dataset)
	if mountpoint != "none" && !kept {
		t.Errorf("the mount point is %s before everything is copied", mountpoint)
	}
	if _, err := os.Stat(m.Root); err == nil && kept && mountpoint != m.Root {
		t.Error("dockerd would begin an empty data-root")
	}
}

// TestMoveCopiesWhatChangedSince changes the data-root after a copy that was cut.
func TestMoveCopiesWhatChangedSince(t *testing.T) {
	m, _ := newMove(t)
	killed := errors.New("killed")
	m.before = func(step string) error {
		if step == "keep the old content" {
			return killed
		}
		return nil
	}
	if err := m.Do(t.Context()); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	text := filepath.Join(m.Root, "volumes/db/_data/text")
	check(t, os.WriteFile(text, []byte("later"), 0o600))
	check(t, os.Remove(filepath.Join(m.Root, "volumes/db/_data/fifo")))
	m.before = nil
	check(t, m.Do(t.Context()))
	requireSame(t, m.Root, m.Root+Suffix)
	if raw, err := os.ReadFile(text); err != nil || string(raw) != "later" {
		t.Errorf("%q, %v", raw, err)
	}
}

// TestMoveIsRefused changes nothing where something is in the way.
func TestMoveIsRefused(t *testing.T) {
	m, original := newMove(t)
	refuse := func(class fault.Class, words string) {
		t.Helper()
		err := m.Do(t.Context())
		if !errors.Is(err, class) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v; want %v with %q", err, class, words)
		}
		requireSame(t, m.Root, original)
	}
	docker, err := dockerstore.Open(m.Root)
	check(t, err)
	lock, err := docker.LockDockerd()
	check(t, errors.Join(err, docker.Close()))
	refuse(fault.Busy, "systemctl stop docker.socket docker")
	check(t, lock.Close())

	below := filepath.Join(m.Root, "volumes/db")
	check(t, mount.Bind(filepath.Join(m.Root, "overlay2"), below, 0))
	err = m.Do(t.Context())
	check(t, mount.Unmount(below))
	if !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "unmount it") {
		t.Errorf("with a mount below: %v", err)
	}

	check(t, os.Mkdir(m.Root+Suffix, 0o700))
	refuse(fault.Exists, "move it away")
	check(t, os.Remove(m.Root+Suffix))

	dir, err := m.stage()
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	refuse(fault.Exists, "has content")
	check(t, os.Remove(filepath.Join(dir, "mine")))

	tool(t, "set", "quota=1M", m.Dataset)
	refuse(fault.NoSpace, fmt.Sprintf("dataset %s has room for", m.Dataset))
	tool(t, "set", "quota=none", m.Dataset)
	check(t, m.Do(t.Context()))
	requireMoved(t, m, original)
}
