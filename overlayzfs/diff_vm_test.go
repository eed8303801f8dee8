//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// changedStore makes a base and a layer on it that changed the base in every possible way.
func changedStore(t *testing.T) *Driver {
	t.Helper()
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) {
		for _, name := range []string{"keep/a", "keep/b", "gone/a", "again/old", "again/same", "file", "swap", "touched", "mode"} {
			write(t, dir+"/"+name, name)
		}
		must(t, os.Mkdir(dir+"/empty", 0o755))
		must(t, os.Symlink("file", dir+"/link"))
		old := time.Unix(1e9, 0)
		must(t, os.Chtimes(dir+"/again/same", old, old))
	})
	create(t, d, "top", "base")
	change(t, d, "top", func(dir string) {
		write(t, dir+"/keep/a", "other content")
		must(t, os.RemoveAll(dir+"/gone"))
		must(t, os.RemoveAll(dir+"/again"))
		write(t, dir+"/again/new", "new")
		write(t, dir+"/again/same", "again/same")
		old := time.Unix(1e9, 0)
		must(t, os.Chtimes(dir+"/again/same", old, old))
		must(t, os.Remove(dir+"/swap"))
		write(t, dir+"/swap/now/a/dir", "x")
		must(t, os.Chmod(dir+"/mode", 0o600))
		must(t, os.Remove(dir+"/link"))
		must(t, os.Symlink("other", dir+"/link"))
		write(t, dir+"/added", "added")
		must(t, os.Link(dir+"/added", dir+"/added too"))
		must(t, os.Chtimes(dir+"/touched", old, old))
		must(t, unix.Mkfifo(dir+"/fifo", 0o600))
	})
	return d
}

var changedTop = []string{
	"A /added", "A /added too", "C /again", "A /again/new", "D /again/old", "A /fifo", "D /gone", "C /keep", "C /keep/a",
	"C /link", "C /mode", "C /swap", "A /swap/now", "A /swap/now/a", "A /swap/now/a/dir", "C /touched",
}

func changesOf(t *testing.T, d *Driver, id, parent string) []string {
	t.Helper()
	changes, err := d.Changes(context.Background(), id, parent)
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = c.Kind.String() + " " + c.Path
	}
	return lines
}

func TestChanges(t *testing.T) {
	d := changedStore(t)
	if diff := cmp.Diff(changedTop, changesOf(t, d, "top", "base")); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestChangesAgreeWithAComparisonOfTheTrees compares the fast way with the slow one: the upper
// directory alone has to give the same changes as two mounts.
func TestChangesAgreeWithAComparisonOfTheTrees(t *testing.T) {
	d := changedStore(t)
	s, err := d.openTreeDiff(context.Background(), "top", "base")
	must(t, err)
	defer func() { must(t, s.close()) }()
	changes, err := s.changes(context.Background())
	must(t, err)
	var slow []string
	for _, c := range changes {
		slow = append(slow, c.Kind.String()+" "+c.Path)
	}
	if diff := cmp.Diff(slow, changesOf(t, d, "top", "base")); diff != "" {
		t.Errorf("the trees and the upper directory disagree (-trees +upper):\n%s", diff)
	}
}

func TestDiffAndApplyGiveTheSameLayer(t *testing.T) {
	d := changedStore(t)
	raw := readAll(t, d, "top", "base")
	create(t, d, "copy", "base")
	size := apply(t, d, "copy", "base", raw)
	want, err := d.DiffSize(context.Background(), "top", "base")
	must(t, err)
	got, err := d.DiffSize(context.Background(), "copy", "base")
	must(t, err)
	if size != want || got != want {
		t.Errorf("sizes: applied %d, diff of the copy %d, of the original %d", size, got, want)
	}
	if diff := cmp.Diff(changesOf(t, d, "top", "base"), changesOf(t, d, "copy", "base")); diff != "" {
		t.Errorf("changes (-original +copy):\n%s", diff)
	}
	if diff := cmp.Diff(names(t, raw), names(t, readAll(t, d, "copy", "base"))); diff != "" {
		t.Errorf("tar (-original +copy):\n%s", diff)
	}
}

// TestDiffOfAnyPair applies the difference of two layers that are not parent and child, and
// expects one to become the other.
func TestDiffOfAnyPair(t *testing.T) {
	d := changedStore(t)
	create(t, d, "third", "top")
	change(t, d, "third", func(dir string) {
		must(t, os.RemoveAll(dir+"/swap"))
		write(t, dir+"/third", "third")
	})
	create(t, d, "sibling", "base")
	change(t, d, "sibling", func(dir string) { write(t, dir+"/sibling", "s") })

	for _, pair := range [][2]string{{"third", "base"}, {"sibling", "third"}, {"third", ""}, {"top", "sibling"}} {
		id, parent := pair[0], pair[1]
		t.Run(fmt.Sprintf("%s over %q", id, parent), func(t *testing.T) {
			copyID := "copy-" + id + "-" + parent
			create(t, d, copyID, parent)
			size := apply(t, d, copyID, parent, readAll(t, d, id, parent))
			if want, err := d.DiffSize(context.Background(), id, parent); err != nil || size != want {
				t.Errorf("applied %d bytes, the diff has %d, %v", size, want, err)
			}
			same, err := d.openTreeDiff(context.Background(), copyID, id)
			must(t, err)
			changes, err := same.changes(context.Background())
			must(t, err)
			must(t, same.close())
			if len(changes) > 0 {
				t.Errorf("the copy differs: %v", changes)
			}
			remove(t, d, copyID)
		})
	}
	if mounted, err := mountedLayers(d.home); err != nil || len(mounted) > 0 {
		t.Errorf("left mounted: %v, %v", mounted, err)
	}
}

func TestDiffOfAMountedLayer(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "top", "base")
	dir := get(t, d, "top")
	defer put(t, d, "top")
	write(t, dir+"/file", "x")
	if got := names(t, readAll(t, d, "top", "base")); !slices.Contains(got, "file") {
		t.Errorf("the diff holds %q", got)
	}
}

func TestDiffThatFailsNeverEndsWell(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) {
		write(t, dir+"/a", "a")
		write(t, dir+"/.wh.z", "a name that a layer tar cannot carry")
	})
	r, err := d.Diff(context.Background(), "base", "")
	must(t, err)
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err == nil {
		t.Error("the diff of what no tar can carry ended like a whole one")
	} else if !strings.Contains(err.Error(), "diff layer base") {
		t.Errorf("the error names neither operation nor layer: %v", err)
	}
}

func TestDiffStops(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/big", strings.Repeat("x", 8<<20)) })
	ctx, cancel := context.WithCancel(context.Background())
	r, err := d.Diff(ctx, "base", "")
	must(t, err)
	_, err = io.ReadFull(r, make([]byte, 1<<10))
	must(t, err)
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled diff ends with %v", err)
	}
	must(t, r.Close())
}

func TestApplyIsAllOrNothing(t *testing.T) {
	whole := archive(t, "first", "second", "third")
	corrupt := slices.Clone(whole)
	copy(corrupt[1024:], strings.Repeat("\xff", 512)) // the second header
	tests := map[string]io.Reader{
		"truncated in a file":  strings.NewReader(string(whole[:512+3])),
		"truncated in a head":  strings.NewReader(string(whole[:1024+100])),
		"corrupt head":         strings.NewReader(string(corrupt)),
		"not a tar":            strings.NewReader(strings.Repeat("not a tar", 1000)),
		"reader fails":         io.MultiReader(strings.NewReader(string(whole[:1024])), failing{}),
		"whiteout of nothing":  strings.NewReader(string(archive(t, "a", "d/.wh."))),
		"whiteout of a parent": strings.NewReader(string(archive(t, "a", "d/.wh..."))),
	}
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "ready", "base")
	change(t, d, "ready", func(string) {})
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			create(t, d, "half", "base")
			if _, err := d.ApplyDiff(context.Background(), "half", "base", r); err == nil {
				t.Error("it was applied")
			} else if !strings.Contains(err.Error(), "apply diff to layer half") {
				t.Errorf("the error names neither operation nor layer: %v", err)
			}
			if left := list(t, d.home.layer("half").diff()); len(left) > 0 {
				t.Errorf("half a layer remains: %q", left)
			}
			if left := list(t, d.home.applyPath("half")); len(left) > 0 {
				t.Errorf("unpacked content remains: %q", left)
			}
			rest := strings.NewReader(string(whole))
			if _, err := d.ApplyDiff(context.Background(), "half", "base", rest); !errors.Is(err, fault.Interrupted) {
				t.Errorf("another diff after one that failed: %v", err)
			}
			if _, err := d.ApplyDiff(context.Background(), "half", "base", strings.NewReader("")); !errors.Is(err, fault.Interrupted) {
				t.Errorf("a stream of no bytes after one that failed: %v", err)
			}
			remove(t, d, "half")
			requireTidy(t, d, "base", "ready")
		})
	}
}

// TestChangesThatKeepSizeAndTime changes content, a link's target and attributes, and sets
// size and times as before, as reproducible builds do. Both comparisons find all of it, and
// do not report what was only touched.
func TestChangesThatKeepSizeAndTime(t *testing.T) {
	then := time.Unix(1577836800, 0)
	settle := func(dir string, names ...string) {
		for _, name := range names {
			ts := []unix.Timespec{unix.NsecToTimespec(then.UnixNano()), unix.NsecToTimespec(then.UnixNano())}
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/"+name, ts, unix.AT_SYMLINK_NOFOLLOW))
		}
	}
	files := []string{"content", "attribute", "touched", "link", "same link"}
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) {
		for _, name := range []string{"content", "attribute", "touched"} {
			write(t, dir+"/"+name, "old")
		}
		must(t, os.Symlink("r1", dir+"/link"))
		must(t, os.Symlink("r1", dir+"/same link"))
		must(t, os.MkdirAll(dir+"/dir/quiet", 0o755))
		settle(dir, files...)
	})
	create(t, d, "top", "base")
	change(t, d, "top", func(dir string) {
		write(t, dir+"/content", "new")
		must(t, unix.Setxattr(dir+"/attribute", "user.x", []byte("1"), 0))
		must(t, unix.Setxattr(dir+"/dir", "user.x", []byte("1"), 0))
		must(t, os.Chmod(dir+"/dir/quiet", 0o755))
		write(t, dir+"/touched", "old")
		for name, target := range map[string]string{"link": "r2", "same link": "r1"} {
			must(t, os.Remove(dir+"/"+name))
			must(t, os.Symlink(target, dir+"/"+name))
		}
		settle(dir, files...)
	})
	create(t, d, "more", "top")
	change(t, d, "more", func(dir string) { write(t, dir+"/more", "x") })
	create(t, d, "sibling", "base")
	change(t, d, "sibling", func(dir string) { write(t, dir+"/other", "x") })

	want := []string{"C /attribute", "C /content", "C /dir", "C /link"}
	if diff := cmp.Diff(want, changesOf(t, d, "top", "base")); diff != "" {
		t.Errorf("over its parent (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(want, "A /more"), changesOf(t, d, "more", "base")); diff != "" {
		t.Errorf("over its parent's parent, as --squash asks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(want, "D /other"), changesOf(t, d, "top", "sibling")); diff != "" {
		t.Errorf("over a sibling (-want +got):\n%s", diff)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the other end is gone") }

func TestApplyOfAnEndlessTarStops(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	head := archive(t, strings.Repeat("n", 50))[:512]
	endless := io.MultiReader(strings.NewReader(string(endlessHead(head))), zeros{})
	if _, err := d.ApplyDiff(ctx, "base", "", endless); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an endless tar ends with %v", err)
	}
	if left := list(t, d.home.applyPath("base")); len(left) > 0 {
		t.Errorf("unpacked content remains: %q", left)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// endlessHead returns a tar header with a size of nearly eight exbibytes.
func endlessHead(head []byte) []byte {
	h := slices.Clone(head)
	copy(h[124:136], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xf0\x00")
	copy(h[148:156], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func TestApplyWantsAFreshLayer(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	apply(t, d, "base", "", archive(t, "a"))
	if _, err := d.ApplyDiff(context.Background(), "base", "", strings.NewReader(string(archive(t, "b")))); !errors.Is(err, fault.Exists) {
		t.Errorf("a second diff for one layer: %v", err)
	}
	create(t, d, "top", "base")
	get(t, d, "top")
	if _, err := d.ApplyDiff(context.Background(), "top", "base", strings.NewReader(string(archive(t, "b")))); !errors.Is(err, fault.Busy) {
		t.Errorf("a diff for a mounted layer: %v", err)
	}
	put(t, d, "top")
	if _, err := d.ApplyDiff(context.Background(), "top", "nobody", strings.NewReader(string(archive(t, "b")))); !errors.Is(err, fault.NotFound) {
		t.Errorf("a diff against a missing parent: %v", err)
	}
}
