//go:build vm

package layertar

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// rule is a case of a row of decision 9.
type rule struct {
	id      string
	base    bool
	below   []entry // of the tree below
	entries []entry
	raw     []byte   // instead of entries
	want    []string // as describePath shows them; those that are missing do not matter
	refused bool
	warned  string
}

var zeroRuns = regexp.MustCompile("\x00+")

// describePath shows a file in one line: kind, mode, owner, what it holds, attributes. What
// is as usual is left out.
func describePath(t *testing.T, root, name string) string {
	t.Helper()
	path := filepath.Join(root, name)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return name + ": nothing"
	}
	line := name + ":"
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		line += " dir"
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		line += " to " + target
	case unix.S_IFREG:
		line += " file"
		if body, err := os.ReadFile(path); err == nil && len(body) > 0 {
			line += fmt.Sprintf(" %.40q", zeroRuns.ReplaceAllStringFunc(string(body), func(run string) string { return fmt.Sprintf("[%d]", len(run)) }))
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		if overlayfs.IsWhiteout(st.Mode, st.Rdev) {
			return name + ": whiteout"
		}
	}
	usual := map[uint32]uint32{unix.S_IFDIR: 0o755, unix.S_IFREG: 0o644, unix.S_IFLNK: 0o777}[st.Mode&unix.S_IFMT]
	if mode := st.Mode & 0o7777; mode != usual {
		line += fmt.Sprintf(" %04o", mode)
	}
	if st.Uid != 0 || st.Gid != 0 {
		line += fmt.Sprintf(" %d:%d", st.Uid, st.Gid)
	}
	return line + describeXattrs(t, path)
}

func describeXattrs(t *testing.T, path string) (line string) {
	t.Helper()
	buf := make([]byte, 1<<12)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")) {
		switch name {
		case "", "security.selinux":
		case "system.posix_acl_access", "system.posix_acl_default":
			line += " " + name
		default:
			line += fmt.Sprintf(" %s=%s", name, getxattr(t, path, name))
		}
	}
	return line
}

// extractRule extracts the case over its tree below. It returns the layer and the warnings.
func extractRule(t *testing.T, r rule) (path string, warnings []string, err error) {
	t.Helper()
	o := Options{Base: r.base, Warn: func(entry, what string) { warnings = append(warnings, entry+" "+what) }}
	if !r.base {
		lower := extract(t, r.below...)
		o.Below = func() (*os.File, error) { return openDir(t, lower), nil }
	}
	raw := r.raw
	if r.entries != nil {
		raw = tarOf(t, r.entries...)
	}
	dir, path := newDir(t)
	size, err := Extract(t.Context(), dir, bytes.NewReader(raw), o)
	if err == nil {
		expectSize(t, dir, size)
	}
	return path, warnings, err
}

// TestRules checks each row of decision 9.
func TestRules(t *testing.T) {
	for i, r := range slices.Concat(nameRules(), kindRules(), attributeRules(t), linkRules(), whiteoutRules(), streamRules(t)) {
		t.Run(fmt.Sprintf("%s-%d", r.id, i), func(t *testing.T) { checkRule(t, r) })
	}
}

func checkRule(t *testing.T, r rule) {
	path, warnings, err := extractRule(t, r)
	if r.refused {
		if fault.ClassOf(err) != fault.UnsafeInput {
			t.Errorf("class %q, %v; want a refusal", fault.ClassOf(err), err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range r.want {
		name, _, _ := strings.Cut(line, ":")
		got = append(got, describePath(t, path, name))
	}
	if diff := cmp.Diff(r.want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if all := strings.Join(warnings, "\n"); !strings.Contains(all, r.warned) || r.warned == "" && all != "" {
		t.Errorf("the warnings are %q, want %q", warnings, r.warned)
	}
}

// mode sets the entry's mode.
func (e entry) mode(mode int64) entry { return e.edit(func(h *tar.Header) { h.Mode = mode }) }

func (e entry) owner(uid, gid int) entry {
	return e.edit(func(h *tar.Header) { h.Format, h.Uid, h.Gid = tar.FormatGNU, uid, gid })
}

func (e entry) kind(typ byte) entry { return e.edit(func(h *tar.Header) { h.Typeflag = typ }) }

func aDevice(name string, typ byte, major, minor int64) entry {
	h := header(typ, name, 0o600)
	h.Devmajor, h.Devminor = major, minor
	return entry{Header: h}
}

// TestRulesOfTimes checks row A2, the times of implied directories, of linked symlinks (L6) and of
// what replaces a directory (R1).
func TestRulesOfTimes(t *testing.T) {
	readAt := func(sec int64) func(*tar.Header) {
		return func(h *tar.Header) { h.Format, h.AccessTime = tar.FormatPAX, time.Unix(sec, 0) }
	}
	at := func(e entry, sec int64) entry {
		return e.edit(func(h *tar.Header) { h.Format, h.ModTime = tar.FormatGNU, time.Unix(sec, 0) })
	}
	path, _, err := extractRule(t, rule{
		below: []entry{at(aDir("d"), 1000), at(aDir("d/e"), 2000), aSymlink("l", "d")},
		entries: []entry{
			at(aFile("past", ""), -1), at(aFile("past-late", ""), -1).edit(readAt(1 << 34)), at(aSymlink("link", "x"), 1<<35), at(aDir("late"), 1<<34), aFile("late/f", ""),
			at(aFile("last", ""), 9223372036), aFile("d/e/f", ""), aFile("l/f", ""),
			at(aSymlink("s", "x"), 3000), at(aHardLink("t", "s"), 4000), at(aDir("r"), 5000), at(aSymlink("r", "x"), 6000), at(aDir("q/p"), 7000), at(aFile("q", ""), 8000),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"past": 0, "past-late": 0, "link": 0, "late": 0, "last": 9223372036, "d": 1000, "d/e": 2000, "l": 1000, "s": 4000, "t": 4000, "r": 6000, "q": 8000} {
		st := lstat(t, filepath.Join(path, name))
		if st.Mtim.Sec != want {
			t.Errorf("%s is of %d, want %d", name, st.Mtim.Sec, want)
		}
		if strings.HasPrefix(name, "past") && st.Atim.Sec != want {
			t.Errorf("%s was read at %d, want %d", name, st.Atim.Sec, want)
		}
	}
}

// TestNoWarnFunction: warnings go nowhere.
func TestNoWarnFunction(t *testing.T) {
	dir := extract(t, aSymlink("..", "x"), aFile("f", "x"))
	var files []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, _ fs.DirEntry, err error) error {
		files = append(files, path)
		return err
	})
	if err != nil || !slices.Equal(files, []string{".", "f"}) {
		t.Errorf("%q, %v", files, err)
	}
}
