package treediff

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/continuity/fs/fstest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// These trees need no privileges; whiteouts and opaque directories are tested
// where layers are mounted, in package overlayzfs.

func treeOf(t *testing.T, appliers ...fstest.Applier) *os.File {
	t.Helper()
	dir := t.TempDir()
	if err := fstest.Apply(appliers...).Apply(dir); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var past = time.Unix(1_500_000_000, 123)

func lines(changes []Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.Kind.String()+" "+c.Path)
	}
	return out
}

func TestTrees(t *testing.T) {
	file := func(name, content string) fstest.Applier {
		return fstest.Apply(fstest.CreateFile(name, []byte(content), 0o644), fstest.Chtimes(name, past, past))
	}
	old := treeOf(t, fstest.CreateDir("d", 0o755), file("d/same", "same"), file("d/gone", "x"), file("content", "old"),
		file("mode", "m"), fstest.CreateDir("dir", 0o755), file("dir/below", "x"), fstest.CreateDir("quiet", 0o755), file("quiet/f", "q"))
	changed := treeOf(t, fstest.CreateDir("d", 0o755), file("d/same", "same"), file("content", "longer"),
		file("mode", "m"), fstest.Chmod("mode", 0o600), file("dir", "now a file"), fstest.CreateDir("quiet", 0o755), file("quiet/f", "q"),
		fstest.CreateDir("new", 0o755), file("new/f", "12345"), fstest.Link("new/f", "new/g"))

	got, err := Trees(context.Background(), changed, old)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"C /content", "C /d", "D /d/gone", "C /dir", "C /mode", "A /new", "A /new/f", "A /new/g"}
	if diff := cmp.Diff(want, lines(got.Changes)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if want := int64(len("longer") + len("m") + len("now a file") + len("12345")); got.Size != want {
		t.Errorf("size %d, want %d", got.Size, want)
	}
}

func TestTreesAgainstNothing(t *testing.T) {
	tree := treeOf(t, fstest.CreateDir("d", 0o755), fstest.CreateFile("d/f", []byte("x"), 0o644))
	got, err := Trees(context.Background(), tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A /d", "A /d/f"}, lines(got.Changes)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestSameTime(t *testing.T) {
	whole := treeOf(t, fstest.CreateFile("f", nil, 0o644), fstest.Chtimes("f", past.Truncate(time.Second), past.Truncate(time.Second)))
	exact := treeOf(t, fstest.CreateFile("f", nil, 0o644), fstest.Chtimes("f", past, past))
	later := treeOf(t, fstest.CreateFile("f", nil, 0o644), fstest.Chtimes("f", past.Add(time.Nanosecond), past.Add(time.Nanosecond)))
	for name, tt := range map[string]struct {
		a, b    *os.File
		changes int
	}{
		"a time without nanoseconds equals its second": {whole, exact, 0},
		"a nanosecond is a change":                     {exact, later, 1},
	} {
		got, err := Trees(context.Background(), tt.a, tt.b)
		if err != nil || len(got.Changes) != tt.changes {
			t.Errorf("%s: %v, %v", name, got.Changes, err)
		}
	}
}

func TestTreesStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Trees(ctx, treeOf(t), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, and yet %v", err)
	}
}

// TestEndlessNestingIsRefused: each level costs descriptors, and a container
// can nest as deep as it likes.
func TestEndlessNestingIsRefused(t *testing.T) {
	const level = "twenty characters..."
	deep := treeOf(t)
	t.Chdir(deep.Name())
	for range 300 {
		if err := os.Mkdir(level, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chdir(level); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Trees(context.Background(), deep, nil)
	if !errors.Is(err, fault.LimitReached) {
		t.Errorf("300 levels: %v", err)
	}
	if err := os.Chdir(deep.Name()); err != nil {
		t.Fatal(err)
	}
	if err := fsat.RemoveAll(context.Background(), int(deep.Fd()), level); err != nil {
		t.Fatal(err)
	}
}

func TestDeepTreesDoNotRunOutOfPath(t *testing.T) {
	deep := treeOf(t)
	dir := deep.Name()
	for range 20 {
		dir = filepath.Join(dir, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := Trees(context.Background(), deep, nil)
	if err != nil || len(got.Changes) != 20 {
		t.Errorf("%d changes, %v", len(got.Changes), err)
	}
}

// TestExact finds what Trees passes over, and nothing where nothing is.
func TestExact(t *testing.T) {
	file := func(name, content string) fstest.Applier {
		return fstest.Apply(fstest.CreateFile(name, []byte(content), 0o644), fstest.Chtimes(name, past, past))
	}
	tree := func(changes ...fstest.Applier) *os.File {
		base := fstest.Apply(fstest.CreateDir("d", 0o755), file("d/same", "same"), file("content", "old"), file("attr", "a"), file("linked", "l"), fstest.Symlink("old", "link"))
		return treeOf(t, append(append([]fstest.Applier{base}, changes...), same("link"), same("d"))...)
	}
	old := tree()
	if got, err := Exact(t.Context(), tree(), old, false); err != nil || len(got.Changes) > 0 {
		t.Errorf("of copies: %v, %v", lines(got.Changes), err)
	}
	changed := tree(file("content", "new"), fstest.SetXAttr("attr", "user.mine", "1"), fstest.Link("linked", "twin"),
		fstest.Remove("link"), fstest.Symlink("new", "link"))
	got, err := Exact(t.Context(), changed, old, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"C /attr", "C /content", "C /link", "C /linked", "A /twin"}, lines(got.Changes)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got, err := Exact(t.Context(), old, old, true); err != nil || len(got.Changes) > 0 {
		t.Errorf("of a clone: %v, %v", lines(got.Changes), err)
	}
	// A copy has other inodes than a clone would have.
	got, err = Exact(t.Context(), tree(), old, true)
	if diff := cmp.Diff([]string{"C /attr", "C /content", "C /d", "C /d/same", "C /link", "C /linked"}, lines(got.Changes)); diff != "" || err != nil {
		t.Errorf("of files that were replaced (-want +got): %v\n%s", err, diff)
	}
}

// same gives an entry, be it a symlink, the time that those of its name have.
func same(name string) fstest.Applier { return at{name} }

type at struct{ name string }

func (a at) Apply(root string) error {
	when := unix.NsecToTimespec(past.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, a.name), []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
}

// TestFilesOfTwoFileSystemsCountTwice: subvolumes of btrfs number their files alike.
func TestFilesOfTwoFileSystemsCountTwice(t *testing.T) {
	w := &walker{}
	for _, dev := range []uint64{1, 2, 1} {
		w.count(unix.Stat_t{Dev: dev, Ino: 257, Nlink: 2, Mode: unix.S_IFREG, Size: 10, Blocks: 1})
	}
	if got := w.result(); got.Size != 20 || got.Allocated != 1024 {
		t.Errorf("%d bytes, %d on disk", got.Size, got.Allocated)
	}
}

// TestDirectoriesThatAreReplaced after they were looked at: there is nothing to compare.
func TestDirectoriesThatAreReplaced(t *testing.T) {
	tree := treeOf(t, fstest.CreateFile("file", []byte("x"), 0o644), fstest.Symlink("elsewhere", "link"))
	w := &walker{ctx: t.Context(), differs: (&comparer{ctx: t.Context()}).changed}
	for _, name := range []string{"file", "link", "gone"} {
		changed, err := w.compareDirs("/"+name, dirs{new: int(tree.Fd()), old: nothing}, name, false)
		if changed || err != nil {
			t.Errorf("%s: %v, %v", name, changed, err)
		}
	}
	for _, err := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP} {
		if !isReplaced(err) || isReplaced(unix.EIO) {
			t.Errorf("%v", err)
		}
	}
}
