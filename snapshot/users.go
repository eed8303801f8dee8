package snapshot

import (
	"bytes"
	"cmp"
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

// findMounts finds the mounts that the rollback takes away, and refuses what it cannot take
// away. A kernel rolls back a mounted file system in place. But overlays on it are broken from
// then on, and the kernel keeps pages of its files as they were before (openzfs #10931): dockerd
// died of its own databases after one. So no dataset may be mounted, in any mount name space.
//
// Mounts in this name space are taken away, with those that propagate from here. A mount of
// another name space, an overlay, and a process that uses one of the mounts are refused. A
// driver that has the store open is such a process.
func (p *planner) findMounts() error {
	procs, err := procfs.AllProcs()
	if err != nil {
		return err
	}
	own, err := os.Readlink(procfs.DefaultMountPoint + "/self/ns/mnt")
	if err != nil {
		return fmt.Errorf("find the own mount name space: %w", err)
	}
	table, datasets := listMounts(procs), append(slices.Clone(p.RollBack), p.MadeSince...)
	tree := table.findTree(own, datasets)
	if p.Mounts, err = p.unmounted().load(); err != nil {
		return err
	}
	used := map[int]string{}
	for _, m := range tree {
		used[m.info.ID] = m.info.Mountpoint
		if found := toMount(m.info); !isSnapshotMount(found) && !slices.Contains(p.Mounts, found) {
			p.Mounts = append(p.Mounts, found)
		}
		if m.info.FSType == "overlay" {
			p.refuse("an overlay is mounted on %s, below a dataset that goes back: stop all containers and dockerd", m.info.Mountpoint)
		}
	}
	for _, dataset := range datasets {
		if err := p.refuseElsewhere(dataset, table, own, used); err != nil {
			return err
		}
	}
	p.refuseProcesses(procs, used)
	return nil
}

// refuseElsewhere refuses mounts of a dataset that unmounting here does not take away, and
// overlays on it. It adds the mounts to those whose users count.
func (p *planner) refuseElsewhere(dataset string, table mountList, own string, used map[int]string) error {
	if o, ok := table.findOverlay(dataset); ok {
		p.refuse("an overlay on dataset %s is mounted on %s (process %d, %s, sees it): stop all containers and dockerd", dataset, o.info.Mountpoint, o.process.PID, commandName(o.process))
	}
	on := table.filterDataset(dataset)
	for _, m := range on {
		used[m.info.ID] = m.info.Mountpoint
		if m.name != own && !table.isPropagated(m, own) {
			p.refuse("dataset %s is mounted on %s in a mount name space of its own (process %d, %s, sees it): stop dockerd, which stops the plugin, or that process", dataset, m.info.Mountpoint, m.process.PID, commandName(m.process))
			return nil
		}
	}
	if len(on) > 0 {
		return nil
	}
	busy, err := isInUse(dataset)
	if busy {
		p.refuse("dataset %s is in use, though no visible mount shows it: a process has a file open in a detached mount, or it is mounted in a name space without processes", dataset)
	}
	return err
}

// isInUse reports whether the kernel has a file system of the dataset, mounted anywhere.
func isInUse(dataset string) (bool, error) {
	_, err := zfs.ObjsetKstat(zfs.PoolOf(dataset), dataset)
	if errors.Is(err, zfs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// refuseProcesses refuses while processes use mounts, which are given by ID.
func (p *planner) refuseProcesses(procs procfs.Procs, used map[int]string) {
	const most = 5
	found := 0
	for _, process := range procs {
		what, on := describeUse(process, used)
		if what == "" {
			continue
		}
		if found++; found > most {
			continue
		}
		p.refuse("process %d (%s) uses the mount on %s (%s): stop dockerd, or that process", process.PID, commandName(process), on, what)
	}
	if found > most {
		p.refuse("%d more processes use these mounts", found-most)
	}
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

// findTree returns the mounts of datasets in a name space, and all mounts below these, each
// after the one that it is mounted on.
func (t mountList) findTree(space string, datasets []string) []visibleMount {
	parents, roots := map[int]int{}, map[int]bool{}
	for _, m := range t {
		if m.name == space {
			parents[m.info.ID] = m.info.Parent
			roots[m.info.ID] = m.info.FSType == "zfs" && slices.Contains(datasets, m.info.Source)
		}
	}
	depths := map[int]int{} // of the mounts in the tree
	var tree []visibleMount
	for _, m := range t {
		if m.name != space {
			continue
		}
		isBelow := false
		for id, depth := m.info.ID, 0; depth <= len(parents); depth++ {
			isBelow = isBelow || roots[id]
			parent, known := parents[id]
			if !known || parent == id {
				depths[m.info.ID] = depth
				break
			}
			id = parent
		}
		if isBelow {
			tree = append(tree, m)
		}
	}
	slices.SortStableFunc(tree, func(a, b visibleMount) int { return cmp.Compare(depths[a.info.ID], depths[b.info.ID]) })
	return tree
}

// isPropagated reports whether a mount of another name space goes when the same is unmounted
// in the own one: its parent is a peer or a slave of the parent there.
func (t mountList) isPropagated(m visibleMount, own string) bool {
	groups := peerGroups(t.find(m.name, m.info.Parent))
	for _, o := range t.filterDataset(m.info.Source) {
		if o.name != own {
			continue
		}
		for _, group := range strings.Fields(t.find(own, o.info.Parent)) {
			if id, shared := strings.CutPrefix(group, "shared:"); shared && groups[id] {
				return true
			}
		}
	}
	return false
}

// find returns the optional fields of a mount, which name its peer groups.
func (t mountList) find(space string, id int) string {
	for _, m := range t {
		if m.name == space && m.info.ID == id {
			return m.info.Optional
		}
	}
	return ""
}

// peerGroups returns the groups from which a mount gets mounts and unmounts.
func peerGroups(optional string) map[string]bool {
	groups := map[string]bool{}
	for field := range strings.FieldsSeq(optional) {
		if kind, id, ok := strings.Cut(field, ":"); ok && (kind == "shared" || kind == "master") {
			groups[id] = true
		}
	}
	return groups
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

// describeUse says how a process uses one of the mounts, which are given by ID, and returns the
// mount's directory. It returns "" when it does not, and for this process, whose working
// directory does not count.
func describeUse(process procfs.Proc, used map[int]string) (what, on string) {
	if len(used) == 0 || process.PID == os.Getpid() {
		return "", ""
	}
	for _, use := range []struct{ link, what string }{
		{"root", "its root directory"}, {"exe", "its program"}, {"cwd", "its working directory"},
	} {
		if on, ok := used[mountIDOfLink(procPath(process, use.link))]; ok {
			return use.what, on
		}
	}
	// fdinfo does not touch an open file itself, which may lie on a server that is gone.
	files, err := process.FileDescriptorsInfo()
	if err != nil {
		return "", ""
	}
	for _, f := range files {
		id, err := strconv.Atoi(f.MntID)
		if on, ok := used[id]; ok && err == nil {
			target, _ := os.Readlink(procPath(process, "fd", f.FD))
			return fmt.Sprintf("open file %.200q", target), on
		}
	}
	return "", ""
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
