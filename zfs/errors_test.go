package zfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

func TestAFailureAnswersToKindClassAndErrno(t *testing.T) {
	tests := []struct {
		errno unix.Errno
		kind  error
		class fault.Class
	}{
		{unix.ENOENT, ErrNotExist, fault.NotFound},
		{unix.ENOENT, fs.ErrNotExist, fault.NotFound},
		{unix.EEXIST, ErrExist, fault.Exists},
		{unix.EBUSY, ErrBusy, fault.Busy},
		{unix.ENOSPC, ErrNoSpace, fault.NoSpace},
		{unix.EDQUOT, ErrNoSpace, fault.LimitReached},
		{unix.EAGAIN, ErrSuspended, fault.PoolUnavailable},
		{unix.EROFS, ErrReadOnly, fault.ReadOnly},
		{unix.EPERM, ErrNotPermitted, fault.Unsupported},
		{errCmdUnavail, ErrUnsupported, fault.Unsupported},
		{unix.EINVAL, ErrInvalid, fault.Invalid},
		{unix.EIO, unix.EIO, fault.PoolUnavailable},
	}
	for _, tt := range tests {
		err := error(failure("create", "tank/x", tt.errno))
		if !errors.Is(err, tt.kind) || !errors.Is(err, tt.errno) || fault.ClassOf(err) != tt.class {
			t.Errorf("%v: %v, class %q", tt.errno, err, fault.ClassOf(err))
		}
		if !strings.Contains(err.Error(), `create "tank/x": `) {
			t.Errorf("no operation and name in %q", err)
		}
	}
}

func TestAFailureNamesWhatWasRefused(t *testing.T) {
	answer := nvlist.List{{Name: "tank/a@s", Value: int32(unix.EEXIST)}, {Name: moreErrors, Value: int32(4)}}
	err := failure("snapshot", "tank", unix.EEXIST)
	err.Each = refusals(answer)
	if got := err.Error(); got != `zfs snapshot "tank": tank/a@s: already exists` {
		t.Errorf("%q", got)
	}
	err.Name = "tank/a@s"
	if got := err.Error(); got != `zfs snapshot "tank/a@s": already exists` {
		t.Errorf("%q", got)
	}
}

func TestANilHandleIsClosed(t *testing.T) {
	for name, h := range map[string]*Handle{"nil": nil, "zero": {}} {
		calls := map[string]error{
			"create":   h.CreateFilesystem("tank/x", nil),
			"destroy":  h.Destroy("tank/x"),
			"retry":    h.DestroyRetry(context.Background(), "tank/x"),
			"sync":     h.SyncPool(context.Background(), "tank"),
			"wait":     h.WaitTxg(context.Background(), "tank"),
			"rollback": h.Rollback(context.Background(), "tank", "tank@s"),
			"snapshot": h.Snapshot([]string{"tank@s"}, nil),
			"inherit":  h.Inherit("tank", "a:b"),
			"quota":    h.SetProjectQuota("tank", 1, 1, 1),
		}
		_, calls["stats"] = h.DatasetStats("tank")
		_, calls["exists"] = h.Exists("tank")
		_, calls["projects"] = h.Projects("tank")
		_, calls["children"] = Collect(h.Children("tank"))
		for call, err := range calls {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s on a %s handle: %v", call, name, err)
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		_ = h.ABI()
	}
}

func TestAMissingDeviceSaysHowToGetIt(t *testing.T) {
	_, err := openDevice(filepath.Join(t.TempDir(), "zfs"))
	if !errors.Is(err, ErrNoDevice) || !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "linux.devices") {
		t.Errorf("%v", err)
	}
	if err := noDevice(device, unix.EPERM); !errors.Is(err, ErrNoDevice) || !errors.Is(err, unix.EPERM) {
		t.Errorf("%v", err)
	}
}

func TestKnownVersions(t *testing.T) {
	for version, want := range map[string]bool{"2.1.0": true, "2.1.11-1": true, "2.3.9-1": true, "2.4.4": true, "2.4.99-1_g1": true,
		"2.5.0-rc1": false, "3.0": false, "2.10.1": false} {
		if known, err := knownVersion(version); err != nil || known != want {
			t.Errorf("%s: %v, %v", version, known, err)
		}
	}
	for _, version := range []string{"0.8.6", "2.0.7", "", "two", "2.x", "1.9"} {
		if _, err := knownVersion(version); !errors.Is(err, ErrUnknownABI) {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestKstats(t *testing.T) {
	dir := t.TempDir()
	kstatDir = dir
	t.Cleanup(func() { kstatDir = "/proc/spl/kstat/zfs" })
	pool := filepath.Join(dir, "tank")
	check(t, os.Mkdir(pool, 0o755))
	check(t, os.WriteFile(filepath.Join(pool, "state"), []byte("DEGRADED\n"), 0o644))
	check(t, os.WriteFile(filepath.Join(pool, "objset-0x36"), []byte(`28 1 0x01 7 2160 5214787391 73405468054
name                            type data
dataset_name                    7    tank/a b
writes                          4    5
nwritten                        4    18446744073709551615
zil_commit_count                4    3
`), 0o644))
	if state, err := PoolState("tank"); err != nil || state != "DEGRADED" {
		t.Errorf("%q, %v", state, err)
	}
	if _, err := PoolState("none"); !errors.Is(err, ErrNotExist) {
		t.Error(err)
	}
	o, err := ObjsetKstat("tank", "tank/a b")
	if err != nil || o.Writes != 5 || o.BytesWritten != 1<<64-1 || o.ZILCommits != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := ObjsetKstat("tank", "tank/b"); !errors.Is(err, ErrNotExist) {
		t.Error(err)
	}
	check(t, os.Remove(o.File))
	if _, err := o.Refresh(); !errors.Is(err, ErrNotExist) {
		t.Error(err)
	}
	for _, name := range []string{"", "../x", ".", "a/b", "a\x00"} {
		if _, err := ModuleParam(name); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestMountpointIsContinuedBelowWhereItIsSet(t *testing.T) {
	at := func(name, value, source string) string {
		return Dataset{Name: name, Properties: map[string]Property{"mountpoint": {String(value), source}}}.Mountpoint()
	}
	for _, tt := range [][2]string{
		{at("tank/a/b", "/mnt", "tank"), "/mnt/a/b"},
		{at("tank/a", "/", "tank"), "/a"},
		{at("tank/a", "/mnt", "tank/a"), "/mnt"},
		{at("tank/a", "legacy", "tank"), "legacy"},
		{Dataset{Name: "tank/a"}.Mountpoint(), "/tank/a"},
	} {
		if tt[0] != tt[1] {
			t.Errorf("%q, want %q", tt[0], tt[1])
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
