package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// refuseUse refuses while a process uses a dataset that goes back. A kernel rolls back a
// mounted file system in place. But overlays on it are broken from then on, and so is the
// state of a daemon that has read its files before.
//
// No dataset may be mounted, in any mount name space. A mount of the layers dataset also shows
// a driver that has the store open. The records dataset usually is mounted. The kernel keeps
// pages of its files as they were before a rollback (openzfs #10931): dockerd died of its own
// databases after one. Overlays and processes on the dataset are named first, because they keep
// it from being unmounted.
func (p *planner) refuseUse() error {
	procs, err := procfs.AllProcs()
	if err != nil {
		return err
	}
	table := listMounts(procs)
	for _, dataset := range append(slices.Clone(p.RollBack), p.MadeSince...) {
		if dataset == p.Records {
			err = p.refuseRecordsUse(dataset, table, procs)
		} else {
			err = p.refuseMounted(dataset, table)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) refuseMounted(dataset string, table mountList) error {
	if on := table.filterDataset(dataset); len(on) > 0 {
		p.refuse("dataset %s is mounted on %s (process %d, %s, sees it): stop dockerd, which stops the plugin, and unmount it", dataset, on[0].info.Mountpoint, on[0].process.PID, commandName(on[0].process))
		return nil
	}
	_, err := zfs.ObjsetKstat(zfs.PoolOf(dataset), dataset)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	if err == nil {
		p.refuse("dataset %s is in use, though no visible mount shows it: a process has a file open in a detached mount, or it is mounted in a name space without processes", dataset)
	}
	return err
}

func (p *planner) refuseRecordsUse(dataset string, table mountList, procs procfs.Procs) error {
	on := table.filterDataset(dataset)
	if len(on) == 0 {
		return p.refuseMounted(dataset, table)
	}
	if o, ok := table.findOverlay(dataset); ok {
		p.refuse("an overlay on dataset %s is mounted on %s (process %d, %s, sees it): stop all containers and dockerd", dataset, o.info.Mountpoint, o.process.PID, commandName(o.process))
	}
	ids := map[int]bool{}
	for _, m := range on {
		ids[m.info.ID] = true
	}
	for _, process := range procs {
		if what := describeUse(process, ids); what != "" {
			p.refuse("process %d (%s) uses the records dataset %s (%s): stop dockerd, or that process", process.PID, commandName(process), dataset, what)
		}
	}
	where := on[0].info.Mountpoint
	p.refuse("the records dataset %s is mounted on %s: run `umount %s` before the rollback and mount it again afterwards, or the kernel goes on to show old pages of its files", dataset, where, where)
	return nil
}

func procPath(process procfs.Proc, parts ...string) string {
	return filepath.Join(append([]string{procfs.DefaultMountPoint, strconv.Itoa(process.PID)}, parts...)...)
}

// commandName returns a process's name, for messages.
func commandName(process procfs.Proc) string {
	name, err := process.Comm()
	if err != nil {
		return "ended"
	}
	return name
}

// visibleMount is a mount and a process that sees it.
type visibleMount struct {
	process procfs.Proc
	info    *mountinfo.Info
	name    string // the mount name space
}

// mountList are the mounts of all visible mount name spaces.
type mountList []visibleMount

// listMounts reads the mounts that the processes see, once for each name space. It skips
// processes that end meanwhile, and the kernel's own, which have none. Package procfs does not
// parse a mount table for this: it loses all but one lowerdir+, and unescapes no path.
func listMounts(procs procfs.Procs) mountList {
	var all mountList
	seen := map[string]bool{}
	for _, process := range procs {
		name, err := os.Readlink(procPath(process, "ns", "mnt"))
		if err != nil || seen[name] {
			continue
		}
		raw, err := os.ReadFile(procPath(process, "mountinfo"))
		if err != nil {
			continue
		}
		infos, err := mountinfo.GetMountsFromReader(bytes.NewReader(raw), nil)
		if err != nil {
			continue
		}
		seen[name] = true
		for _, info := range infos {
			all = append(all, visibleMount{process, info, name})
		}
	}
	return all
}

// filterDataset returns the mounts of a dataset, with binds of its directories.
func (t mountList) filterDataset(dataset string) []visibleMount {
	var on []visibleMount
	for _, m := range t {
		if m.info.FSType == "zfs" && m.info.Source == dataset {
			on = append(on, m)
		}
	}
	return on
}

// findOverlay finds an overlay that uses a dataset: it is mounted on a directory of the
// dataset, or one of its layers has a path on the dataset.
func (t mountList) findOverlay(dataset string) (visibleMount, bool) {
	type mountKey struct {
		space string
		id    int
	}
	base := map[mountKey]bool{}
	for _, m := range t.filterDataset(dataset) {
		base[mountKey{m.name, m.info.ID}] = true
	}
	for _, m := range t {
		if m.info.FSType != "overlay" {
			continue
		}
		if base[mountKey{m.name, m.info.Parent}] {
			return m, true
		}
		for _, path := range overlayPaths(m.info.VFSOptions) {
			if base[mountKey{m.name, t.findMountID(m.name, path)}] {
				return m, true
			}
		}
	}
	return visibleMount{}, false
}

// findMountID returns the ID of the mount that a path lies on. Of two mounts on one directory
// the later hides the earlier.
func (t mountList) findMountID(space, path string) int {
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

// describeUse says how a process uses one of the mounts. It returns "" when it does not, and
// for this process, whose working directory does not count.
func describeUse(process procfs.Proc, ids map[int]bool) string {
	if len(ids) == 0 || process.PID == os.Getpid() {
		return ""
	}
	for link, what := range map[string]string{"root": "its root directory", "exe": "its program", "cwd": "its working directory"} {
		if ids[mountIDOfLink(procPath(process, link))] {
			return what
		}
	}
	// fdinfo does not touch an open file itself, which may lie on a server that is gone.
	files, err := process.FileDescriptorsInfo()
	if err != nil {
		return ""
	}
	for _, f := range files {
		if id, err := strconv.Atoi(f.MntID); err == nil && ids[id] {
			target, _ := os.Readlink(procPath(process, "fd", f.FD))
			return fmt.Sprintf("open file %.200q", target)
		}
	}
	return ""
}

// mountIDOfLink returns the ID of the mount that a link in /proc/PID leads into, and 0 when that
// is unknown.
func mountIDOfLink(link string) int {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return 0
	}
	return int(st.Mnt_id)
}
