package fsat

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/continuity/fs/fstest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tree makes a directory by the appliers and opens it.
func tree(t *testing.T, what ...fstest.Applier) (*os.File, string) {
	t.Helper()
	path := t.TempDir()
	if err := fstest.Apply(what...).Apply(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, path
}

func fd(f *os.File) int { return int(f.Fd()) }

func TestFailuresNameTheCallAndKeepTheErrno(t *testing.T) {
	dir, _ := tree(t)
	_, err := Stat(fd(dir), "none")
	var path *os.PathError
	if !errors.As(err, &path) || path.Path != "none" || !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
	if pathError("op", "x", nil) != nil {
		t.Error("nil became an error")
	}
}

func TestRetry(t *testing.T) {
	calls := 0
	err := retryEINTR(func() error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return unix.EIO
	})
	if err != unix.EIO || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// Nothing that takes a name follows a symlink of that name, or a path.
func TestNamesAreTakenLiterally(t *testing.T) {
	dir, path := tree(t, fstest.CreateDir("d", 0o755), fstest.CreateFile("f", []byte("x"), 0o600),
		fstest.Symlink("f", "link"), fstest.Symlink("d", "dlink"), fstest.Symlink("none", "dangling"))
	opens := map[string]func(string) (int, error){
		"OpenDir":    func(name string) (int, error) { return OpenDir(fd(dir), name) },
		"OpenFile":   func(name string) (int, error) { return OpenFile(fd(dir), name) },
		"CreateFile": func(name string) (int, error) { return CreateFile(fd(dir), name, 0o600) },
	}
	for call, open := range opens {
		for _, name := range []string{"link", "dlink", "dangling", "../" + filepath.Base(path) + "/f", "/etc"} {
			if got, err := open(name); err == nil {
				t.Errorf("%s opened %q as %d", call, name, got)
			}
		}
	}
	if err := Chmod(fd(dir), "link", 0o777); !errors.Is(err, unix.ELOOP) {
		t.Errorf("Chmod of a symlink: %v", err)
	}
	if st, err := Stat(fd(dir), "f"); err != nil || st.Mode&0o777 != 0o600 {
		t.Errorf("the symlink's target has mode %o, %v", st.Mode, err)
	}
}

func TestMakeAndRemoveNames(t *testing.T) {
	dir, path := tree(t)
	steps := []error{
		Mkdir(fd(dir), "d", 0o700), Mknod(fd(dir), "p", unix.S_IFIFO|0o600, 0),
		Symlink("target", fd(dir), "s"), Link(fd(dir), "s", fd(dir), "s2"), Chmod(fd(dir), "p", 0o640), Unlink(fd(dir), "s"),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	if target, err := Readlink(fd(dir), "s2"); err != nil || target != "target" {
		t.Errorf("s2 is %q, %v", target, err)
	}
	if err := errors.Join(Rmdir(fd(dir), "d"), Unlink(fd(dir), "p"), Unlink(fd(dir), "s2")); err != nil {
		t.Fatal(err)
	}
	if empty, err := IsEmpty(fd(dir)); err != nil || !empty {
		t.Errorf("%s: empty is %v, %v", path, empty, err)
	}
}

func TestReadlinkOfAnyLength(t *testing.T) {
	dir, _ := tree(t)
	for _, size := range []int{1, 255, 256, 257, 1024, 4095} {
		target := strings.Repeat("x", size)
		if err := Symlink(target, fd(dir), "s"); err != nil {
			t.Fatal(err)
		}
		if got, err := Readlink(fd(dir), "s"); err != nil || got != target {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
		if err := Unlink(fd(dir), "s"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadDirOfManyNames(t *testing.T) {
	dir, path := tree(t)
	for i := range 3000 {
		name := filepath.Join(path, strings.Repeat("n", i%200+1)+"-"+time.Duration(i).String())
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // it starts over
		entries, err := ReadDir(fd(dir))
		if err != nil || len(entries) != 3000 {
			t.Errorf("%d entries, %v", len(entries), err)
		}
		Sort(entries)
		for i, e := range entries {
			if e.Type != unix.DT_REG || i > 0 && entries[i-1].Name >= e.Name {
				t.Fatalf("entry %d is %+v", i, e)
			}
		}
	}
}

func TestXattrs(t *testing.T) {
	dir, path := tree(t, fstest.CreateFile("f", nil, 0o600))
	f, err := os.Open(filepath.Join(path, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	big := strings.Repeat("v", 3000)
	if err := errors.Join(SetXattrFD(fd(f), "user.a", []byte("1")), SetXattr(fd(dir), "f", "user.b", []byte(big))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"user.a": "1", "user.b": big} {
		byFD, err1 := GetXattrFD(fd(f), name)
		byName, err2 := GetXattr(fd(dir), "f", name)
		if string(byFD) != want || string(byName) != want || err1 != nil || err2 != nil {
			t.Errorf("%s: %.20q %.20q %v %v", name, byFD, byName, err1, err2)
		}
	}
	byFD, err1 := ListXattrFD(fd(f))
	byName, err2 := ListXattr(fd(dir), "f")
	if err := errors.Join(err1, err2); err != nil || len(byFD) < 2 || cmp.Diff(byFD, byName) != "" {
		t.Errorf("%q %q %v", byFD, byName, err)
	}
	if _, err := GetXattrFD(fd(f), "user.none"); !errors.Is(err, unix.ENODATA) {
		t.Errorf("a missing attribute: %v", err)
	}
}

func TestSetTimesClamps(t *testing.T) {
	dir, _ := tree(t, fstest.CreateFile("f", nil, 0o600), fstest.Symlink("none", "s"))
	ordinary := time.Unix(1_700_000_000, 123_456_789)
	for _, name := range []string{"f", "s"} {
		if err := SetTimes(fd(dir), name, ordinary, ordinary); err != nil {
			t.Fatal(err)
		}
		if st, err := Stat(fd(dir), name); err != nil || st.Mtim.Nano() != ordinary.UnixNano() || st.Atim.Nano() != ordinary.UnixNano() {
			t.Errorf("%s has times %v %v, %v", name, st.Atim, st.Mtim, err)
		}
	}
	for _, wild := range []time.Time{{}, time.Unix(-1<<62, 0), time.Unix(1<<62, 999_999_999)} {
		ts := timespec(wild)
		if ts.Sec < minTime.Unix() || ts.Sec > maxTime.Unix() || ts.Nsec < 0 || ts.Nsec > 999_999_999 {
			t.Errorf("%v became %v", wild, ts)
		}
		if err := SetTimes(fd(dir), "f", wild, wild); err != nil {
			t.Errorf("%v: %v", wild, err)
		}
	}
}

func TestReadAndWriteAt(t *testing.T) {
	dir, path := tree(t)
	f, err := CreateFile(fd(dir), "f", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(WriteAt(f, []byte("data"), 6), Truncate(f, 12), Close(f)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(path, "f"))
	if err != nil || string(got) != "\x00\x00\x00\x00\x00\x00data\x00\x00" {
		t.Errorf("%q, %v", got, err)
	}
	r, err := OpenFile(fd(dir), "f")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if err := ReadAt(r, buf, 6); err != nil || string(buf) != "data" {
		t.Errorf("%q, %v", buf, err)
	}
	if err := ReadAt(r, buf, 9); err == nil {
		t.Error("reading over the end succeeded")
	}
	if err := Close(r); err != nil {
		t.Error(err)
	}
}

func TestContextEndsAWalk(t *testing.T) {
	dir, path := tree(t, fstest.CreateFile("f", nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := RemoveContents(ctx, fd(dir)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(path, "f")); err != nil {
		t.Error(err)
	}
}
