//go:build vm

package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

const (
	unit    = "overlayzfs-snapshotter"
	dataset = "tank/layers"
)

// installUnits installs the files as docs/containerd.md says.
func installUnits(t *testing.T) {
	t.Helper()
	for _, f := range []struct{ from, to, mode string }{
		{engine.SnapshotterProgram(t), "/usr/local/bin/overlayzfs-snapshotter", "755"},
		{engine.Dist(t, "overlayzfs/snapshotter.toml"), "/etc/overlayzfs/snapshotter.toml", "644"},
		{engine.Dist(t, "systemd/overlayzfs-snapshotter.service"), "/etc/systemd/system/overlayzfs-snapshotter.service", "644"},
		{engine.Dist(t, "systemd/overlayzfs-snapshotter.socket"), "/etc/systemd/system/overlayzfs-snapshotter.socket", "644"},
	} {
		inguest.Run(t, "install", "-D", "-m", f.mode, f.from, f.to)
		t.Cleanup(func() { must(t, os.Remove(f.to)) })
	}
	inguest.Run(t, "sed", "-i", `s#^dataset = ""#dataset = "`+dataset+`"#`, "/etc/overlayzfs/snapshotter.toml")
}

// destroyDatasetLater destroys the dataset when the test ends. The name space that has
// it mounted ends some time after its last process.
func destroyDatasetLater(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if err := exec.Command("zfs", "list", dataset).Run(); err != nil {
			return // the test failed before the dataset was created
		}
		waitFor(t, func() error { return exec.Command("zfs", "destroy", "-r", dataset).Run() })
	})
}

// TestSystemdAcceptsTheUnits has systemd-analyze verify the units. It does not look for
// the manual pages, which the guest does not keep.
func TestSystemdAcceptsTheUnits(t *testing.T) {
	installUnits(t)
	for _, kind := range []string{".service", ".socket"} {
		if out := inguest.Run(t, "systemd-analyze", "verify", "--man=no", "/etc/systemd/system/"+unit+kind); out != "" {
			t.Errorf("%s%s: %s", unit, kind, out)
		}
	}
}

// TestTheServiceStartsRestartsAndStops runs the daemon as a service.
func TestTheServiceStartsRestartsAndStops(t *testing.T) {
	destroyDatasetLater(t)
	inguest.Run(t, "zfs", "create", "-o", "mountpoint=legacy", dataset)
	installUnits(t)
	s := bootSystemd(t)
	// The start returns when the daemon has reported that it is ready.
	s.run(t, "systemctl", "enable", "--now", unit)
	t.Cleanup(func() { inguest.Run(t, "systemctl", "disable", unit) })
	s.awaitProperty(t, "StatusText", "serving")
	must(t, s.checkServing())

	before := s.run(t, "systemctl", "show", "--value", "-p", "MainPID", unit)
	s.run(t, "systemctl", "kill", "--signal=KILL", unit)
	waitFor(t, func() error { return s.checkRestarted(before) })
	must(t, s.checkServing())

	s.run(t, "systemctl", "stop", unit)
	s.requireProperty(t, "Result", "success")
	if out := s.run(t, "findmnt", "-n", "-o", "SOURCE", engine.SnapshotterHome); out != dataset {
		t.Errorf("after the stop %q is mounted on the store's directory", out)
	}
}

// TestTheSocketStartsTheService starts the service by a call on its socket.
func TestTheSocketStartsTheService(t *testing.T) {
	destroyDatasetLater(t)
	inguest.Run(t, "zfs", "create", "-o", "mountpoint=legacy", dataset)
	installUnits(t)
	s := bootSystemd(t)
	s.run(t, "systemctl", "start", unit+".socket")
	s.requireProperty(t, "ActiveState", "inactive")
	waitFor(t, s.checkServing)
	s.awaitProperty(t, "ActiveState", "active") // the answer can come before systemd hears that the service is ready
	// The service uses systemd's socket, which stays when the service stops.
	s.run(t, "systemctl", "stop", unit+".service")
	waitFor(t, s.checkServing)
}

// TestTheServiceReportsAStoreThatCannotBeOpened starts the service without its dataset.
// The service runs, so that calls and its status say why.
func TestTheServiceReportsAStoreThatCannotBeOpened(t *testing.T) {
	destroyDatasetLater(t)
	installUnits(t)
	s := bootSystemd(t)
	s.run(t, "systemctl", "start", unit)
	waitFor(t, func() error {
		got, err := s.readProperty("StatusText")
		if err == nil && (!strings.HasPrefix(got, "cannot open the store: ") || !strings.Contains(got, dataset)) {
			err = fmt.Errorf("the status is %q", got)
		}
		return err
	})
	inguest.Run(t, "zfs", "create", "-o", "mountpoint=legacy", dataset)
	// The health check does not use the store; a call does, and opens it again.
	s.run(t, "systemctl", "restart", unit)
	s.awaitProperty(t, "StatusText", "serving")
}

// TestAWrongConfigurationIsNotRetried starts the service with a configuration that
// stays wrong: the start has to fail at once.
func TestAWrongConfigurationIsNotRetried(t *testing.T) {
	installUnits(t)
	inguest.Run(t, "sed", "-i", `s#^dataset = #datasets = #`, "/etc/overlayzfs/snapshotter.toml")
	s := bootSystemd(t)
	if out, err := s.try("systemctl", "start", unit); err == nil {
		t.Errorf("the service starts: %s", out)
	}
	s.requireProperty(t, "ActiveState", "failed")
	s.requireProperty(t, "ExecMainStatus", "2")
	s.requireProperty(t, "NRestarts", "0")
}

func (s *systemdSystem) requireProperty(t *testing.T, name, want string) {
	t.Helper()
	if got, err := s.readProperty(name); err != nil || got != want {
		t.Errorf("%s is %q, want %q, %v", name, got, want, err)
	}
}

// awaitProperty waits until a property of the unit has a value.
func (s *systemdSystem) awaitProperty(t *testing.T, name, want string) {
	t.Helper()
	waitFor(t, func() error {
		got, err := s.readProperty(name)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", name, got, want)
		}
		return err
	})
}

// checkRestarted returns an error until another process serves.
func (s *systemdSystem) checkRestarted(before string) error {
	pid, err := s.readProperty("MainPID")
	if err != nil {
		return err
	}
	status, err := s.readProperty("StatusText")
	if err != nil {
		return err
	}
	if pid == before || pid == "0" || status != "serving" {
		return fmt.Errorf("the main process is %s, before %s, its status %q", pid, before, status)
	}
	return nil
}

// checkServing returns an error unless the service answers on its socket that it
// serves.
func (s *systemdSystem) checkServing() error {
	return engine.CheckHealth(s.hostPath(engine.SnapshotterSocket))
}
