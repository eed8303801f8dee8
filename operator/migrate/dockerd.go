package migrate

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// procDir is where procfs is mounted.
const procDir = "/proc"

// lockDockerd fails with fault.Busy while dockerd uses the data-root, and otherwise keeps
// it from starting until release is called.
func (r *dataRoot) lockDockerd() (release func() error, err error) {
	docker, err := dockerstore.OpenRoot(r.Root)
	if err != nil {
		return nil, err
	}
	lock, err := docker.LockDockerd()
	err = errors.Join(err, docker.Close())
	if lock == nil {
		return func() error { return nil }, err // dockerd runs, or never ran here
	}
	return lock.Close, err
}

// outlivedRemedy says what to do about a container that runs without dockerd.
const outlivedRemedy = "a container outlived dockerd; start dockerd without live-restore, stop the container, and stop dockerd again"

// layerDirs are the directories in the data-root where drivers mount layers.
var layerDirs = []string{"overlay2", "zfs", "plugins"}

// RequireStopped fails while a container of a data-root runs without dockerd.
func RequireStopped(root string) error {
	r, err := openDataRoot(root)
	if err != nil {
		return err
	}
	return errors.Join(r.requireStopped(procDir), r.Close())
}

// requireStopped fails while a container runs that outlived dockerd, which may have been
// killed or use live-restore. It looks for mounted layers and for containers' processes:
// some drivers mount nothing, and dockerd may mount in a namespace of its own.
func (r *dataRoot) requireStopped(proc string) error {
	for _, dir := range layerDirs {
		if err := requireUnmounted(filepath.Join(r.Name(), dir)); err != nil {
			return err
		}
	}
	names, err := r.listNames("containers")
	if err != nil {
		return err
	}
	for _, id := range names {
		if !containerID.MatchString(id) {
			continue
		}
		if err := r.requireEnded(proc, id); err != nil {
			return err
		}
	}
	return nil
}

// requireUnmounted fails when a layer below a directory is mounted.
func requireUnmounted(dir string) error {
	if real, err := filepath.EvalSymlinks(dir); err == nil { // the mount table has real paths
		dir = real
	}
	mounts, err := mount.ListBelow(dir)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.FSType == "overlay" || strings.Contains(m.Mountpoint, "/graph/") {
			return fault.New(fault.Busy, "%s is still mounted: %s", m.Mountpoint, outlivedRemedy)
		}
	}
	return nil
}

// requireEnded fails while a container's recorded process runs. Another process may have
// its number by now, so the control group, named after the container, has to match.
func (r *dataRoot) requireEnded(proc, id string) error {
	raw, err := r.ReadFile(path.Join("containers", id, "config.v2.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var record struct{ State struct{ Pid int } }
	if err := json.Unmarshal(raw, &record); err != nil {
		return fault.New(fault.Invalid, "container %.12s: its record is damaged: %w", id, err)
	}
	if record.State.Pid <= 0 {
		return nil
	}
	groups, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(record.State.Pid), "cgroup"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err == nil && strings.Contains(string(groups), id) {
		err = fault.New(fault.Busy, "container %.12s runs as process %d: %s", id, record.State.Pid, outlivedRemedy)
	}
	return err
}
