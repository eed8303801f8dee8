package snapshot

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// procDir is where processes show; a variable for tests.
var procDir = "/proc"

func proc(pid int, parts ...string) string {
	return filepath.Join(append([]string{procDir, strconv.Itoa(pid)}, parts...)...)
}

// processes returns the IDs of all visible processes.
func processes() ([]int, error) {
	entries, err := os.ReadDir(procDir)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// command is a process's name, for people.
func command(pid int) string {
	raw, err := os.ReadFile(proc(pid, "comm"))
	if err != nil {
		return "ended"
	}
	return strings.TrimSpace(string(raw))
}

// mounted is a mount and a process that sees it.
type mounted struct {
	pid  int
	info *mountinfo.Info
	name string // of the mount name space
}

// mounts are those of all visible mount name spaces.
type mounts []mounted

// mountTable reads the mounts that the processes see, once for each name
// space. Processes that end meanwhile, and the kernel's own, have none.
func mountTable(pids []int) mounts {
	var all mounts
	seen := map[string]bool{}
	for _, pid := range pids {
		name, err := os.Readlink(proc(pid, "ns", "mnt"))
		if err != nil || seen[name] {
			continue
		}
		raw, err := os.ReadFile(proc(pid, "mountinfo"))
		if err != nil {
			continue
		}
		infos, err := mountinfo.GetMountsFromReader(bytes.NewReader(raw), nil)
		if err != nil {
			continue
		}
		seen[name] = true
		for _, info := range infos {
			all = append(all, mounted{pid, info, name})
		}
	}
	return all
}

// of returns the mounts of a dataset, binds of its directories included.
func (t mounts) of(dataset string) []mounted {
	var on []mounted
	for _, m := range t {
		if m.info.FSType == "zfs" && m.info.Source == dataset {
			on = append(on, m)
		}
	}
	return on
}

// overlayOn finds an overlay that stands on a dataset: one mounted on a
// directory of it, or with a layer named by a path that lies on it.
func (t mounts) overlayOn(dataset string) (mounted, bool) {
	type place struct {
		space string
		id    int
	}
	base := map[place]bool{}
	for _, m := range t.of(dataset) {
		base[place{m.name, m.info.ID}] = true
	}
	for _, m := range t {
		if m.info.FSType != "overlay" {
			continue
		}
		if base[place{m.name, m.info.Parent}] {
			return m, true
		}
		for _, path := range overlayPaths(m.info.VFSOptions) {
			if base[place{m.name, t.holding(m.name, path)}] {
				return m, true
			}
		}
	}
	return mounted{}, false
}

// holding is the mount that a path lies on, by its ID. Of two on one place the
// later hides the earlier.
func (t mounts) holding(space, path string) int {
	id, length := 0, -1
	for _, m := range t {
		point := strings.TrimSuffix(m.info.Mountpoint, "/")
		if m.name == space && (path == point || strings.HasPrefix(path, point+"/")) && len(point) >= length {
			id, length = m.info.ID, len(point)
		}
	}
	return id
}

// overlayPaths returns the absolute paths in an overlay's options.
func overlayPaths(options string) []string {
	var paths []string
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir":
			for path := range strings.SplitSeq(value, ":") {
				if strings.HasPrefix(path, "/") {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}

// insideBy says by what a process uses one of the mounts, or nothing. The
// process that asks does not count with the directory it happens to be in.
func insideBy(pid int, ids map[int]bool) string {
	if len(ids) == 0 || pid == os.Getpid() {
		return ""
	}
	for link, what := range map[string]string{"root": "its root directory", "exe": "its program", "cwd": "its working directory"} {
		if ids[mountOf(proc(pid, link))] {
			return what
		}
	}
	files, err := os.ReadDir(proc(pid, "fdinfo"))
	if err != nil {
		return ""
	}
	for _, f := range files {
		if ids[mountOfFD(proc(pid, "fdinfo", f.Name()))] {
			target, _ := os.Readlink(proc(pid, "fd", f.Name()))
			return fmt.Sprintf("open file %.200q", target)
		}
	}
	return ""
}

// mountOf is the ID of the mount that a link of /proc/PID leads into; 0 if
// that cannot be told.
func mountOf(link string) int {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return 0
	}
	return int(st.Mnt_id)
}

// mountOfFD reads the ID out of a file of /proc/PID/fdinfo, which touches the
// open file itself in no way: that one may lie on a server that is gone.
func mountOfFD(file string) int {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "mnt_id:"); ok {
			id, _ := strconv.Atoi(strings.TrimSpace(value))
			return id
		}
	}
	return 0
}
