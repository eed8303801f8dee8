//go:build vm

package migrate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// immutable is FS_IMMUTABLE_FL of linux/fs.h.
const immutable = 0x10

// TestFlagsOfChattrEndNoMigration: somebody ran chattr in a container. The plan says what is
// lost, the content comes along, and the old layers go at the end.
func TestFlagsOfChattrEndNoMigration(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	mount := hexID("mount of web")
	t.Cleanup(func() { // a failed test leaves nothing that cannot be removed
		for _, name := range []string{"/data/web", "/data", "/etc/motd"} {
			_ = setFlags(h.path("vfs/dir/"+mount+name), 0)
		}
	})
	for _, name := range []string{"/data/web", "/etc/motd", "/data"} {
		h.no(setFlags(h.path("vfs/dir/"+mount+name), immutable))
	}
	p := h.planning(Request{From: "vfs", Config: h.config})
	h.no(p.chooseDrivers())
	p.records = h.records("vfs")
	h.no(p.countRecords())
	h.no(p.checkLayersPresent())
	if len(p.plan.Notes) != 1 || !strings.Contains(p.plan.Notes[0], "loses the flags of chattr on 2 files, such as \"data\" (+i)") || len(p.plan.Obstacles) > 0 {
		t.Errorf("%q, %q", p.plan.Notes, p.plan.Obstacles)
	}
	h.no(h.run(h.copyJob(), s))
	h.carried(s)
	if err := os.WriteFile(filepath.Join(s.dir, mount, "data/web"), nil, 0o600); err != nil {
		t.Errorf("the copy is immutable: %v", err)
	}
	s.token = "of a start"
	h.no(Finish(t.Context(), h.dir, s.tools()))
	if _, err := os.Lstat(h.path("vfs")); !os.IsNotExist(err) {
		t.Errorf("the old layers are left: %v", err)
	}
}

func setFlags(name string, flags int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
}
