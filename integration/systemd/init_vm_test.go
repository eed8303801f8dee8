//go:build vm

package systemd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

var (
	must    = inguest.Must
	waitFor = inguest.WaitFor
)

// systemdSystem is a running systemd.
type systemdSystem struct {
	pid   string // in this process's name space
	group string // systemd's control group
}

// entryScript prepares the name spaces as systemd expects them, and executes systemd.
// It masks units for a machine's start.
const entryScript = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/systemd/system
printf '[Unit]\nDescription=The lab\n' >/run/systemd/system/lab.target
for unit in systemd-udevd systemd-udev-trigger systemd-journald systemd-journal-flush systemd-tmpfiles-setup systemd-tmpfiles-setup-dev \
	systemd-tmpfiles-setup-dev-early systemd-sysusers systemd-update-done systemd-modules-load systemd-sysctl systemd-random-seed; do
	ln -s /dev/null "/run/systemd/system/$unit.service"
done
exec env -i container=lab PATH="$PATH" /lib/systemd/systemd --unit=lab.target --log-target=console --show-status=no
`

// bootSystemd starts a systemd and waits until it answers.
func bootSystemd(t *testing.T) *systemdSystem {
	t.Helper()
	s := &systemdSystem{group: "/sys/fs/cgroup/lab-systemd"}
	must(t, os.Mkdir(s.group, 0o755))
	group, err := os.Open(s.group)
	must(t, err)
	defer group.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "systemd.log"))
	must(t, err)
	defer out.Close()
	cmd := exec.Command("sh", "-c", entryScript)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWCGROUP,
		UseCgroupFD: true, CgroupFD: int(group.Fd()), Setsid: true,
	}
	must(t, cmd.Start())
	s.pid = fmt.Sprint(cmd.Process.Pid)
	t.Cleanup(func() { s.end(t, cmd, out.Name()) })
	waitFor(t, func() error { _, err := s.try("systemctl", "is-active", "lab.target"); return err })
	return s
}

// end kills the first process of the name space, and all others with it.
func (s *systemdSystem) end(t *testing.T, cmd *exec.Cmd, log string) {
	if t.Failed() {
		raw, err := os.ReadFile(log)
		t.Logf("systemd: %v\n%s", err, raw)
	}
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("systemd ended by itself")
	}
	waitFor(t, s.removeGroups)
}

// removeGroups removes systemd's control groups, the lowest first.
func (s *systemdSystem) removeGroups() error {
	var groups []string
	err := filepath.WalkDir(s.group, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append([]string{path}, groups...)
		}
		return err
	})
	for _, group := range groups {
		err = errors.Join(err, os.Remove(group))
	}
	return err
}

// command returns a command in systemd's name spaces, in a directory.
func (s *systemdSystem) command(dir string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", s.pid, "-m", "-p", "-C", "--wdns=" + dir, "--"}, args...)...)
}

// try runs a program in systemd's name spaces.
func (s *systemdSystem) try(args ...string) (string, error) {
	out, err := s.command("/", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (s *systemdSystem) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.try(args...)
	must(t, err)
	return out
}

// readProperty returns a property of the unit.
func (s *systemdSystem) readProperty(name string) (string, error) {
	return s.try("systemctl", "show", "--value", "-p", name, unit)
}

// hostPath returns the path in this name space of one of systemd's files.
func (s *systemdSystem) hostPath(name string) string {
	return filepath.Join("/proc", s.pid, "root", name)
}
