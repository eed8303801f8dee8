package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Mount is a mount that a rollback takes away and makes again.
type Mount struct {
	Target  string `json:"target"`
	Source  string `json:"source"`
	Type    string `json:"type"`
	Root    string `json:"root"`    // the directory of the file system that is mounted; not "/" for a bind
	Options string `json:"options"` // of this mount
}

// String describes the mount, for people.
func (m Mount) String() string {
	if m.Root != "/" {
		return fmt.Sprintf("%s (%s of %s)", m.Target, m.Root, m.Source)
	}
	return fmt.Sprintf("%s (%s)", m.Target, m.Source)
}

// unmounted is the state of a rollback that has unmounted, in a directory that is empty after
// a boot: there is nothing to mount again then.
type unmounted struct {
	dir    string // holds binds of the mounts that are not a dataset's root
	mounts []Mount
	cover  string // where the records dataset is mounted, and a cover meanwhile
}

const stateFile = "mounts.json"

// coverSource is the source of the mount that covers the directory of the records dataset
// meanwhile. It is empty and read-only. An engine that a socket starts fails there, and does
// not make a new data-root in the directory below.
const coverSource = "overlayzfs-rollback"

func (p *Plan) unmounted() unmounted {
	u := unmounted{dir: filepath.Join(p.options.StateDir, "overlayzfs-rollback-"+url.PathEscape(p.Layers)), mounts: p.Mounts}
	for _, m := range p.Mounts {
		if m.Source == p.Records && m.Root == "/" {
			u.cover = m.Target
			break
		}
	}
	return u
}

// load returns the mounts that an earlier run has unmounted, or nil.
func (u unmounted) load() (mounts []Mount, err error) {
	raw, err := os.ReadFile(filepath.Join(u.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &mounts)
	}
	if err != nil {
		return nil, fmt.Errorf("read which mounts an earlier rollback has unmounted: %w; mount them yourself and remove %s", err, u.dir)
	}
	return mounts, nil
}

func (u unmounted) save() error {
	if len(u.mounts) == 0 {
		return nil
	}
	raw, err := json.Marshal(u.mounts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return err
	}
	return atomicfile.Replace(filepath.Join(u.dir, stateFile), raw, atomicfile.Options{Mode: 0o600})
}

// isDataset reports whether the mount is all of a dataset, which can be mounted by its name.
func (m Mount) isDataset() bool { return m.Type == "zfs" && m.Root == "/" }

func (u unmounted) hold(i int) string { return filepath.Join(u.dir, strconv.Itoa(i)) }

// unmountAll unmounts in the reverse order, and covers the records' directory. It keeps other
// file systems than datasets by a bind: they may exist by their mount alone. goesBack reports
// whether a dataset is rolled back.
func (u unmounted) unmountAll(goesBack func(dataset string) bool) error {
	if err := u.save(); err != nil {
		return err
	}
	for i, m := range slices.Backward(u.mounts) {
		there, err := m.isMounted()
		if err == nil && there {
			err = unmountSnapshots(m.Target)
		}
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if !m.isDataset() && !goesBack(m.Source) {
			if err := u.keep(i, m); err != nil {
				return err
			}
		}
		if err := mount.Unmount(m.Target); err != nil {
			return err
		}
	}
	return u.coverRecords()
}

// unmountSnapshots unmounts the snapshots that the kernel has mounted below .zfs.
func unmountSnapshots(dir string) error {
	below, err := mount.ListBelow(dir)
	for _, m := range slices.Backward(below) {
		if isSnapshotMount(toMount(m)) {
			err = errors.Join(err, mount.Unmount(m.Mountpoint))
		}
	}
	return err
}

// keep binds a mount in the state directory, unless an earlier run did.
func (u unmounted) keep(i int, m Mount) error {
	kept, err := mount.ListAt(u.hold(i))
	if err != nil || len(kept) > 0 {
		return err
	}
	if err := makeTarget(m.Target, u.hold(i)); err != nil {
		return err
	}
	return mount.Bind(m.Target, u.hold(i), mount.FlagsOf(m.Options))
}

// makeTarget makes a directory to mount on, or a file where the source is a file.
func makeTarget(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o700)
	}
	return os.WriteFile(target, nil, 0o600)
}

func (u unmounted) coverRecords() error {
	if u.cover == "" {
		return nil
	}
	on, err := mount.ListAt(u.cover)
	if err != nil || slices.ContainsFunc(on, isCover) {
		return err
	}
	return mount.Mount{Type: "tmpfs", Source: coverSource, Target: u.cover, Flags: unix.MS_RDONLY}.Do()
}

func isCover(i *mount.Info) bool { return i.Source == coverSource }

// mountAll mounts again what is not mounted, in order, and ends the state. It returns the binds
// of directories that do not exist any more.
func (u unmounted) mountAll() (lost []Mount, err error) {
	if u.cover != "" {
		on, err := mount.ListAt(u.cover)
		if err != nil {
			return nil, err
		}
		for range slices.DeleteFunc(on, func(i *mount.Info) bool { return !isCover(i) }) {
			if err := mount.Unmount(u.cover); err != nil {
				return nil, err
			}
		}
	}
	for i, m := range u.mounts {
		there, err := m.isMounted()
		if err == nil && !there {
			err = u.mount(i, m)
		}
		if errors.Is(err, fs.ErrNotExist) && !m.isDataset() {
			lost = append(lost, m)
			continue
		}
		if err != nil {
			return lost, fmt.Errorf("mount %s again: %w", m, err)
		}
	}
	return lost, u.end()
}

// mount makes one mount: of a dataset, of what the state directory keeps, or of a directory of
// a dataset that went back.
func (u unmounted) mount(i int, m Mount) error {
	if m.isDataset() {
		if err := os.MkdirAll(m.Target, 0o755); err != nil {
			return err
		}
		return zfs.MountDatasetWith(m.Source, m.Target, mount.FlagsOf(m.Options))
	}
	kept, err := mount.ListAt(u.hold(i))
	if err != nil {
		return err
	}
	source := u.hold(i)
	if len(kept) == 0 {
		if m.Type != "zfs" {
			return fmt.Errorf("the state directory %s lost it: %w", u.dir, fs.ErrNotExist)
		}
		if err := os.MkdirAll(u.hold(i), 0o700); err != nil {
			return err
		}
		if err := zfs.MountDataset(m.Source, u.hold(i)); err != nil {
			return err
		}
		source = filepath.Join(u.hold(i), m.Root)
	}
	if _, err := os.Stat(source); err != nil {
		return err
	}
	if _, err := os.Stat(m.Target); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(m.Target), 0o755); err != nil {
			return err
		}
		if err := makeTarget(source, m.Target); err != nil {
			return err
		}
	}
	return mount.Bind(source, m.Target, mount.FlagsOf(m.Options))
}

// end removes the state directory, with what it keeps.
func (u unmounted) end() error {
	below, err := mount.ListBelow(u.dir)
	for _, m := range slices.Backward(below) {
		err = errors.Join(err, mount.Detach(m.Mountpoint))
	}
	if err != nil {
		return err
	}
	for i := range u.mounts {
		if err := os.Remove(u.hold(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, path := range []string{filepath.Join(u.dir, stateFile), u.dir} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// isMounted reports whether the mount is the visible one on its target.
func (m Mount) isMounted() (bool, error) {
	on, err := mount.ListAt(m.Target)
	return slices.ContainsFunc(on, func(i *mount.Info) bool { return m.is(i) }), err
}

func (m Mount) is(i *mount.Info) bool {
	return i.Source == m.Source && i.FSType == m.Type && i.Root == m.Root && i.Mountpoint == m.Target
}

func toMount(i *mount.Info) Mount {
	return Mount{Target: i.Mountpoint, Source: i.Source, Type: i.FSType, Root: i.Root, Options: i.Options}
}

// isSnapshotMount reports whether the kernel mounted a snapshot below .zfs, and will again.
func isSnapshotMount(m Mount) bool { return m.Type == "zfs" && strings.Contains(m.Source, "@") }
