//go:build vm

package zfs

import (
	"strings"
	"testing"
)

// TestPoolDevices compares the devices with what zpool(8) says.
func TestPoolDevices(t *testing.T) {
	h := open(t)
	pool := testPool(t)
	devices, err := h.PoolDevices(pool)
	check(t, err)
	status := strings.Fields(cli(t, "zpool", "status", "-P", pool))
	for _, d := range devices {
		found := false
		for i, word := range status {
			found = found || word == d.Path && status[i+1] == d.State
		}
		if !found {
			t.Errorf("%+v is not in %q", d, status)
		}
	}
	if len(devices) == 0 {
		t.Error("there is none")
	}
}
