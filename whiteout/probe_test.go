package whiteout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// fake is a system that can do everything but what a test takes from it.
type fake struct {
	kernel
	errs     map[string]error // by method or, for renames, by flag
	files    map[string]uint32
	typ      uint8
	caseless bool
}

func newFake() *fake {
	return &fake{errs: make(map[string]error), files: make(map[string]uint32), typ: unix.DT_REG}
}

func (f *fake) mknod(path string, mode uint32, _ int) error {
	f.files[path] = mode
	return f.errs["mknod"]
}

func (f *fake) rename(from, _ string, flags uint) error {
	if flags == unix.RENAME_WHITEOUT {
		f.files[from] = overlayfs.WhiteoutMode
		return f.errs["RENAME_WHITEOUT"]
	}
	return f.errs["RENAME_EXCHANGE"]
}

func (f *fake) tmpfile(string, string) error         { return f.errs["tmpfile"] }
func (f *fake) setXattr(_, _ string, _ []byte) error { return f.errs["setXattr"] }

func (f *fake) lstat(path string) (uint32, uint64, error) {
	if mode, ok := f.files[path]; ok {
		return mode, 0, nil
	}
	if f.caseless {
		return unix.S_IFREG, 0, nil
	}
	return 0, 0, &fs.PathError{Op: "lstat", Path: path, Err: unix.ENOENT}
}

func (f *fake) firstType(string) (uint8, error) { return f.typ, f.errs["firstType"] }
func (f *fake) fileSystem(string) string        { return "OpenZFS 2.1.11" }
func (f *fake) release() string                 { return "Linux 6.1.0" }

func TestProbeNamesWhatIsMissing(t *testing.T) {
	tests := []struct {
		what string
		take func(*fake)
		want string
	}{
		{"old ZFS", func(f *fake) { f.errs["RENAME_WHITEOUT"] = unix.EINVAL },
			"OpenZFS 2.1.11 cannot RENAME_WHITEOUT (invalid argument); overlayfs needs it: OpenZFS 2.2 or later"},
		{"old ZFS", func(f *fake) { f.errs["RENAME_EXCHANGE"] = unix.EINVAL },
			"OpenZFS 2.1.11 cannot RENAME_EXCHANGE (invalid argument); overlayfs needs it: OpenZFS 2.2 or later"},
		{"old ZFS on Linux 6.1", func(f *fake) { f.errs["tmpfile"] = unix.EOPNOTSUPP },
			"OpenZFS 2.1.11 cannot O_TMPFILE (operation not supported); overlayfs needs it: OpenZFS 2.2 or later"},
		{"xattr=off", func(f *fake) { f.errs["setXattr"] = unix.EOPNOTSUPP },
			"OpenZFS 2.1.11 cannot set trusted.* extended attributes (operation not supported); overlayfs needs it: OpenZFS with xattr=on or xattr=sa"},
		{"no CAP_SYS_ADMIN", func(f *fake) { f.errs["setXattr"] = unix.EPERM },
			"this process, on Linux 6.1.0, cannot set trusted.* extended attributes (operation not permitted); overlayfs needs it: give this process CAP_SYS_ADMIN"},
		{"no CAP_MKNOD", func(f *fake) { f.errs["mknod"] = unix.EPERM },
			"this process, on Linux 6.1.0, cannot make whiteout devices (mknod 0:0) (operation not permitted); overlayfs needs it: give this process CAP_MKNOD"},
		{"no CAP_MKNOD", func(f *fake) { f.errs["RENAME_WHITEOUT"] = unix.EPERM },
			"give this process CAP_MKNOD"},
		{"no types in directories", func(f *fake) { f.typ = unix.DT_UNKNOWN },
			"OpenZFS 2.1.11 cannot tell file types in directories (d_type); overlayfs needs it: "},
		{"casesensitivity=insensitive", func(f *fake) { f.caseless = true },
			"OpenZFS 2.1.11 cannot tell upper from lower case; overlayfs needs it: create the dataset with casesensitivity=sensitive"},
	}
	for _, tt := range tests {
		f := newFake()
		tt.take(f)
		dir := t.TempDir()
		err := probe(t.Context(), dir, f)
		var missing *Missing
		if !errors.As(err, &missing) || len(missing.Features) != 1 {
			t.Errorf("%s: %v, want one feature missing", tt.what, err)
			continue
		}
		if fault.ClassOf(err) != fault.Unsupported || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: class %q, text %q, want %q", tt.what, fault.ClassOf(err), err, tt.want)
		}
		expectEmpty(t, dir)
	}
}

func TestProbeReportsEverythingAtOnce(t *testing.T) {
	f := newFake()
	f.errs["RENAME_WHITEOUT"], f.errs["RENAME_EXCHANGE"], f.caseless = unix.EINVAL, unix.EINVAL, true
	err := probe(t.Context(), t.TempDir(), f)
	var missing *Missing
	if !errors.As(err, &missing) || len(missing.Features) != 3 {
		t.Fatalf("got %v, want three features missing", err)
	}
	if !errors.Is(err, unix.EINVAL) {
		t.Error("what the kernel said got lost")
	}
}

func TestProbeOfAFileSystemThatHasAll(t *testing.T) {
	dir := t.TempDir()
	if err := probe(t.Context(), dir, newFake()); err != nil {
		t.Error(err)
	}
	expectEmpty(t, dir)
}

// An attempt that failed for want of space says nothing about the feature.
func TestProbeDoesNotGuess(t *testing.T) {
	classes := map[unix.Errno]fault.Class{
		unix.EIO: fault.PoolUnavailable, unix.ENOSPC: fault.NoSpace, unix.EROFS: fault.ReadOnly, unix.EACCES: "",
	}
	for _, call := range []string{"RENAME_WHITEOUT", "RENAME_EXCHANGE", "tmpfile", "setXattr", "mknod", "firstType"} {
		for errno, class := range classes {
			f := newFake()
			f.errs[call] = fmt.Errorf("wrapped: %w", errno)
			dir := t.TempDir()
			err := probe(t.Context(), dir, f)
			var missing *Missing
			if !errors.Is(err, errno) || errors.As(err, &missing) || fault.ClassOf(err) != class {
				t.Errorf("%s failing with %v: class %q, %v", call, errno, fault.ClassOf(err), err)
			}
			expectEmpty(t, dir)
		}
	}
}

// A call that reports success without having done its work is caught.
func TestProbeLooksAtTheWhiteout(t *testing.T) {
	err := probe(t.Context(), t.TempDir(), &forgetful{newFake()})
	var missing *Missing
	if !errors.As(err, &missing) || len(missing.Features) != 2 {
		t.Errorf("got %v, want both ways to make a whiteout missing", err)
	}
}

type forgetful struct{ *fake }

func (f *forgetful) mknod(path string, _ uint32, _ int) error {
	f.files[path] = unix.S_IFREG
	return nil
}

func (f *forgetful) rename(from, _ string, _ uint) error {
	f.files[from] = unix.S_IFREG
	return nil
}

func TestProbeStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if err := probe(ctx, dir, newFake()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	expectEmpty(t, dir)
}

func TestProbeOfAMissingDirectory(t *testing.T) {
	err := Probe(t.Context(), t.TempDir()+"/none")
	if fault.ClassOf(err) != fault.NotFound {
		t.Errorf("class %q: %v", fault.ClassOf(err), err)
	}
}

// The calls that need no privilege are tried on the real kernel here too.
func TestRealCalls(t *testing.T) {
	dir := t.TempDir()
	for _, f := range features {
		if f.capability != "" {
			continue
		}
		if lack, err := f.probe(kernel{}, dir); lack != nil || err != nil {
			t.Errorf("%s: %v, %v", f.name, lack, err)
		}
	}
}

func TestZFSName(t *testing.T) {
	for version, want := range map[string]string{"2.1.11-1\n": "OpenZFS 2.1.11", "2.4.99": "OpenZFS 2.4.99"} {
		if got := zfsName(version); got != want {
			t.Errorf("%q became %q", version, got)
		}
	}
}

func expectEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("the probe left %v behind (%v)", entries, err)
	}
}
