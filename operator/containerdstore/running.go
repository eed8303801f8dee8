package containerdstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tasksDir is the part of a containerd's state directory that holds a directory for each
// task, by name space and ID.
const tasksDir = "/io.containerd.runtime.v2.task"

// shimComm begins the name of the process that looks after a container, as /proc cuts it.
const shimComm = "containerd-shim"

// findBundles returns the directories of tasks of the containerds that run containers. A
// shim works in the directory of its task. proc is /proc.
func findBundles(proc string) (dirs []string) {
	processes, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return nil
	}
	for _, process := range processes {
		comm, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil || !strings.HasPrefix(string(comm), shimComm) {
			continue
		}
		cwd, err := os.Readlink(filepath.Join(process, "cwd"))
		if state, _, found := strings.Cut(cwd, tasksDir+"/"); err == nil && found {
			dirs = append(dirs, state+tasksDir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// isRunning reports whether the first process of a container runs. The shim writes its
// number into the directory of the task.
func isRunning(bundles []string, namespace, id string) bool {
	if !isFileName(namespace) || !isFileName(id) {
		return false
	}
	for _, dir := range bundles {
		raw, err := os.ReadFile(filepath.Join(dir, namespace, id, "init.pid"))
		if err != nil {
			continue
		}
		pid, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 31)
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join("/proc", strconv.FormatUint(pid, 10))); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// isFileName reports whether a name can stand for one file.
func isFileName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) < 256 && !strings.ContainsAny(name, "/\x00")
}
