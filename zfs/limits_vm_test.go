//go:build vm

package zfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestProjectQuotaIsEnforced(t *testing.T) {
	const id, limit = 4242, 8 << 20
	h := open(t)
	name := fresh(t, "-o", "compression=off")
	dir := filepath.Join(mounted(t, name), "project")
	check(t, os.Mkdir(dir, 0o755))
	f, err := os.Open(dir)
	check(t, err)
	defer f.Close()
	if got, inherit, err := ProjectID(f); got != 0 || inherit || err != nil {
		t.Error(got, inherit, err)
	}
	check(t, SetProjectID(f, id, true))
	if got, inherit, err := ProjectID(f); got != id || !inherit || err != nil {
		t.Error(got, inherit, err)
	}
	check(t, h.SetProjectQuota(name, id, limit, 100))
	check(t, fill(dir, "half", limit/2))
	syncPool(t, h)

	usage, err := h.ProjectUsage(name, id)
	check(t, err)
	t.Logf("%+v", usage)
	if usage.Bytes < limit/2 || usage.Bytes > limit || usage.Objects != 2 || usage.ByteLimit != limit || usage.ObjectLimit != 100 {
		t.Errorf("%+v", usage)
	}
	line := cli(t, "zfs", "projectspace", "-Hp", "-o", "name,used,quota,objused,objquota", name)
	if want := fmt.Sprintf("%d\t%d\t%d\t%d\t%d", id, usage.Bytes, limit, usage.Objects, 100); !strings.Contains(line, want) {
		t.Errorf("zfs(8) says %q, we %q", line, want)
	}
	equal(t, "a file inherits the ID", projectOf(t, filepath.Join(dir, "half")), id)

	check(t, fill(dir, "rest", limit))
	syncPool(t, h)
	if err := fill(dir, "beyond", 1<<20); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("beyond the limit: %v", err)
	}
	check(t, h.SetProjectQuota(name, id, 0, 0))
	check(t, fill(dir, "beyond", 1<<20))

	check(t, SetProjectID(f, id, false))
	if _, inherit, err := ProjectID(f); inherit || err != nil {
		t.Error(inherit, err)
	}
	nobody, err := h.ProjectUsage(name, 99)
	if err != nil || nobody != (ProjectUsage{ID: 99}) {
		t.Errorf("%+v, %v", nobody, err)
	}
}

func projectOf(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	id, _, err := ProjectID(f)
	check(t, err)
	return int(id)
}

// TestManyProjects has more than one answer holds.
func TestManyProjects(t *testing.T) {
	const many = 300
	h := open(t)
	name := fresh(t)
	for i := range many {
		check(t, h.SetProjectQuota(name, uint32(1000+i), uint64(i+1)<<20, uint64(i+1)))
	}
	check(t, h.SetProjectQuota(name, 1<<32-2, 1<<20, 0))
	projects, err := h.Projects(name)
	check(t, err)
	byID := map[uint32]ProjectUsage{}
	for _, p := range projects {
		byID[p.ID] = p
	}
	equal(t, "projects", len(byID), len(projects))
	for i := range many {
		if p := byID[uint32(1000+i)]; p.ByteLimit != uint64(i+1)<<20 || p.ObjectLimit != uint64(i+1) {
			t.Errorf("%+v", p)
		}
	}
	equal(t, "the largest ID", byID[1<<32-2].ByteLimit, 1<<20)
	none, err := h.Projects(fresh(t))
	check(t, err)
	for _, p := range none {
		if p.ID != 0 {
			t.Errorf("%+v in an empty dataset", p)
		}
	}
}

func TestProjectIDsNeedAFileSystemThatHasThem(t *testing.T) {
	f, err := os.Open("/proc")
	check(t, err)
	defer f.Close()
	wantError(t, SetProjectID(f, 1, true), ErrUnsupported, fault.Unsupported)
	_, _, err = ProjectID(f)
	wantError(t, err, ErrUnsupported)
}

func TestRefquotaIsEnforced(t *testing.T) {
	h := open(t)
	name := unused(t)
	check(t, h.CreateFilesystem(name, Properties{"mountpoint": String("legacy"), "refquota": Uint(4 << 20)}))
	dir := mounted(t, name)
	if err := fill(dir, "large", 8<<20); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("%v", err)
	}
	syncPool(t, h)
	wantError(t, h.SetUint(name, "refquota", 1<<20), ErrNoSpace)
	check(t, h.SetUint(name, "refquota", 1<<30))
	check(t, fill(dir, "large", 8<<20))
}

func TestNoSpaceIsTold(t *testing.T) {
	h := open(t)
	name := fresh(t)
	wantError(t, h.SetUint(name, "reservation", 1<<60), ErrNoSpace, fault.NoSpace, unix.ENOSPC)
	check(t, h.SetUint(name, "quota", 2<<20))
	if err := fill(mounted(t, name), "x", 6<<20); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("%v", err)
	}
	syncPool(t, h)
	wantError(t, h.SetUint(name, "quota", 1<<20), ErrNoSpace)
}
