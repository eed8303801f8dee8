//go:build vm

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

func compareLists(got, want []string) error {
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("got %q, want %q", got, want)
}

// findProcesses lists the IDs of a program's processes, by the name they were started
// with.
func findProcesses(program string) []int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well formed
	var pids []int
	for _, path := range lines {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		arg0, _, _ := strings.Cut(string(raw), "\x00")
		if filepath.Base(arg0) != program {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listMounts lists the host's mounts.
func listMounts(t testing.TB) []inguest.Mount {
	t.Helper()
	mounts, err := inguest.ReadMounts("self")
	must(t, err)
	return mounts
}

// listMountsBelow lists the host's mounts below root, and every mount of the dataset, as
// "TARGET TYPE".
func listMountsBelow(t testing.TB, root, dataset string) []string {
	t.Helper()
	var found []string
	for _, m := range listMounts(t) {
		if strings.HasPrefix(m.Target, root+"/") || dataset != "" && m.Source == dataset {
			found = append(found, m.Target+" "+m.Type)
		}
	}
	slices.Sort(found)
	return found
}

// listOverlays lists the overlays in the mount name space of a process.
func listOverlays(pid int) []string {
	mounts, err := inguest.ReadMounts(strconv.Itoa(pid))
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, m := range mounts {
		if m.Type == "overlay" && m.Target != "/" {
			found = append(found, m.Target)
		}
	}
	return found
}

func listLoopDevices(t testing.TB) []string {
	t.Helper()
	used, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	must(t, err)
	return used
}
