//go:build vm

package treecopy

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// names are few, so that random trees meet.
var names = []string{"a", "b", "c", "d"}

// grow makes a random tree in a directory. With marks, it is an overlay's upper directory.
func grow(t *testing.T, r *rand.Rand, dir string, depth int, marks bool, files *[]string) {
	t.Helper()
	for _, name := range names {
		at := filepath.Join(dir, name)
		stamp := time.Unix(int64(1e9+r.IntN(3)), 0)
		switch kind := r.IntN(9); kind {
		case 0, 1:
			no(t, os.WriteFile(at, []byte(fmt.Sprint(r.IntN(2))), 0o600))
			no(t, os.Chmod(at, []fs.FileMode{0o600, 0o644, 0o755 | fs.ModeSetuid}[r.IntN(3)]))
			*files = append(*files, at)
		case 2, 3, 4:
			if depth == 0 {
				continue
			}
			no(t, os.Mkdir(at, 0o755))
			no(t, os.Chmod(at, []fs.FileMode{0o755, 0o777 | fs.ModeSticky}[r.IntN(2)]))
			grow(t, r, at, depth-1, marks, files)
			if marks && r.IntN(4) == 0 {
				no(t, unix.Setxattr(at, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue), 0))
			}
		case 5:
			no(t, os.Symlink(names[r.IntN(4)], at))
			continue
		case 6:
			if len(*files) == 0 {
				continue
			}
			no(t, os.Link((*files)[r.IntN(len(*files))], at))
		case 7:
			if !marks {
				no(t, unix.Mkfifo(at, 0o600))
				break
			}
			no(t, unix.Mknod(at, unix.S_IFCHR, 0))
			continue
		default:
			continue
		}
		no(t, os.Chown(at, r.IntN(2), r.IntN(2)))
		if r.IntN(3) == 0 {
			no(t, unix.Setxattr(at, "trusted.note", []byte{byte(r.IntN(2))}, 0))
		}
		no(t, os.Chtimes(at, stamp, stamp))
	}
}

// describe lists all that a tree shows.
func describe(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	first := map[uint64]string{}
	no(t, filepath.WalkDir(root, func(at string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return err
		}
		name := strings.TrimPrefix(at, root)
		text := fmt.Sprintf("%s %o %d:%d %d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, err := os.Readlink(at)
			all = append(all, fmt.Sprint(name, " -> ", target, st.Uid, st.Gid))
			return err
		case unix.S_IFREG:
			raw, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			text += " " + string(raw)
		}
		value := make([]byte, 8)
		if n, err := unix.Lgetxattr(at, "trusted.note", value); err == nil {
			text += " note " + string(value[:n])
		} else if !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			text += " is " + first[st.Ino]
		}
		all = append(all, text)
		return nil
	}))
	return all
}

// TestRepairedTreesShowWhatWasWanted: a kernel's overlay of the repaired directory shows the
// wanted tree, whatever upper and lower directories were before. Content that upper has is
// taken for right, so a random upper directory gets times of its own.
func TestRepairedTreesShowWhatWasWanted(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		root := t.TempDir()
		at := func(name string) string { return filepath.Join(root, name) }
		open := map[string]*os.File{}
		for i, name := range []string{"want", "lower", "upper"} {
			no(t, os.Mkdir(at(name), 0o755))
			if name != "upper" || seed%2 == 0 {
				var files []string
				grow(t, r, at(name), 2, name == "upper", &files)
				for _, file := range files {
					if name == "upper" { // of a size that no wanted file has
						no(t, os.WriteFile(file, []byte("of upper"), 0o600))
					}
				}
			}
			no(t, os.Chmod(at(name), fs.FileMode(0o700+i)))
			var err error
			open[name], err = os.Open(at(name))
			no(t, err)
		}
		for round := range 2 {
			repaired, err := Repair(t.Context(), open["upper"], open["want"], open["lower"], ByReading, Options{})
			no(t, err)
			if round == 1 && repaired.Entries > 0 || len(repaired.Lost) > 0 {
				t.Errorf("seed %d, round %d: %+v", seed, round, repaired)
			}
		}
		m, err := mount.Overlay{Dir: root, Target: "merged", Lowers: []string{"upper", "lower"}}.Mount()
		no(t, err)
		no(t, os.Mkdir(at("merged"), 0o755))
		no(t, m.Do())
		t.Cleanup(func() { _ = mount.Unmount(at("merged")) })
		want, got := describe(t, at("want")), describe(t, at("merged"))
		no(t, mount.Unmount(at("merged")))
		if !slices.Equal(want, got) {
			t.Fatalf("seed %d shows\n%s\nwant\n%s", seed, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, f := range open {
			no(t, f.Close())
		}
	}
	mount.CloseIdleThreads()
}
