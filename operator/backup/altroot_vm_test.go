//go:build vm

package backup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestABackupOntoAPoolWithAnotherRoot, as a rescue system imports the pool of a new machine: it
// is mounted below that root, and has the mount points of the machine.
func TestABackupOntoAPoolWithAnotherRoot(t *testing.T) {
	h := newHost(t, "one")
	disk, root := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	check(t, errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 256<<20)))
	zpool := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("zpool", args...).CombinedOutput(); err != nil {
			t.Fatalf("zpool %v: %v\n%s", args, err, out)
		}
	}
	zpool("create", "-m", "none", "-R", root, "machine", disk)
	t.Cleanup(func() { zpool("destroy", "machine") })
	target := Target{h.ZFS, "machine/docker"}
	_, err := h.transfer(t, h.take(t), target, 0)
	check(t, err)
	check(t, os.MkdirAll(filepath.Join(root, h.root), 0o755))
	check(t, os.WriteFile(filepath.Join(root, h.root, "file"), nil, 0o600))
	plan, err := target.PlanMount("")
	check(t, err)
	if len(plan.Refused) != 1 {
		t.Errorf("over a file: %q", plan.Refused)
	}
	check(t, os.Remove(filepath.Join(root, h.root, "file")))
	plan, err = target.PlanMount("")
	check(t, err)
	check(t, target.Mount(plan))
	wantRestored(t, h.ZFS, target.Dataset, filepath.Join(root, h.root), "first")
	if got := tool(t, "get", "-Ho", "value", "mountpoint", target.Dataset+"/volumes"); got != filepath.Join(root, h.root, "volumes") {
		t.Errorf("volumes are mounted on %s", got) // zfs(8) shows it below the root
	}
	if plan, err = target.PlanMount(""); err != nil || len(plan.Steps) > 0 {
		t.Errorf("a second time: %+v, %v", plan, err)
	}
}
