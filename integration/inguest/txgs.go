package inguest

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/kerneltest"
)

// CountTxgs returns how many transaction groups of a pool end while do runs. Groups end
// by themselves once an hour meanwhile, so that nearly all of them are ended by somebody
// who waits.
func CountTxgs(t testing.TB, pool string, do func()) int {
	t.Helper()
	const timeout = "/sys/module/zfs/parameters/zfs_txg_timeout"
	before, err := os.ReadFile(timeout)
	Must(t, err)
	Must(t, os.WriteFile(timeout, []byte("3600"), 0))
	defer func() { Must(t, os.WriteFile(timeout, before, 0)) }()
	Run(t, "zpool", "sync", pool) // the thread reads the new timeout
	first := openTxg(t, pool)
	do()
	return openTxg(t, pool) - first
}

// ExpectCopyUps makes sure that do, which changes so many files of an image, waits for a
// transaction group with each of them only where the kernel lacks fanotify's permission
// events. What else do waits for must take far fewer groups than there are files.
func ExpectCopyUps(t testing.TB, what, pool string, files int, do func()) {
	t.Helper()
	groups := CountTxgs(t, pool, do)
	t.Logf("%s: %d transaction groups for %d files", what, groups, files)
	if fast := kerneltest.HasPermissionEvents(t); fast && groups >= files/2 || !fast && groups < files {
		t.Errorf("%s: %d transaction groups for %d files", what, groups, files)
	}
}

// openTxg returns the number of the pool's newest transaction group.
func openTxg(t testing.TB, pool string) (newest int) {
	t.Helper()
	text, err := os.ReadFile("/proc/spl/kstat/zfs/" + pool + "/txgs")
	Must(t, err)
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		if txg, err := strconv.Atoi(fields[0]); err == nil { // not a line of the head
			newest = max(newest, txg)
		}
	}
	if newest == 0 {
		t.Fatalf("no transaction group in the kstat of %s", pool)
	}
	return newest
}
