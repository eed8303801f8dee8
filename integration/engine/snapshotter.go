package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// SnapshotterName is the snapshotter's name in containerd's configuration under dist/.
const SnapshotterName = "overlayzfs"

// SnapshotterSocket and SnapshotterHome are the paths in the files under dist/.
const (
	SnapshotterSocket = "/run/overlayzfs/snapshotter.sock"
	SnapshotterHome   = "/var/lib/overlayzfs-snapshotter"
)

// Environment variables that name the snapshotter's program, and the directory dist/.
const (
	snapshotterEnv = "OVERLAYZFS_SNAPSHOTTER"
	distEnv        = "OVERLAYZFS_DIST"
)

// Dist returns the path of a file under dist/. The tests use the files that users get.
func Dist(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(fromEnv(t, distEnv), name)
}

// SnapshotterProgram returns the path of the snapshotter's program.
func SnapshotterProgram(t testing.TB) string {
	t.Helper()
	return fromEnv(t, snapshotterEnv)
}

func fromEnv(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set", name)
	}
	return value
}

// Snapshotter is the daemon behind containerd's snapshots API, with the
// configuration under dist/.
type Snapshotter struct {
	Process
	Dataset string
}

// newSnapshotter sets the dataset and other settings in the sample configuration, as a
// user does, and has the program check it.
func newSnapshotter(t testing.TB, dir string, o ContainerdOptions) *Snapshotter {
	t.Helper()
	sample, err := os.ReadFile(Dist(t, "overlayzfs/snapshotter.toml"))
	if err != nil {
		t.Fatal(err)
	}
	text := set(t, string(sample), "dataset", o.Dataset)
	for key, value := range o.Settings {
		text = set(t, text, key, value)
	}
	path := filepath.Join(dir, "snapshotter.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	inguest.Run(t, SnapshotterProgram(t), "--check", "--config", path)
	return &Snapshotter{Dataset: o.Dataset, Process: Process{
		Log:  filepath.Join(dir, "snapshotter.log"),
		Args: []string{SnapshotterProgram(t), "--config", path, "--log-level=debug"},
	}}
}

// set replaces an empty setting by a value.
func set(t testing.TB, text, key, value string) string {
	t.Helper()
	unset := "\n" + key + ` = ""` + "\n"
	if strings.Count(text, unset) != 1 {
		t.Fatalf("dist/overlayzfs/snapshotter.toml must have exactly one empty setting %s", key)
	}
	return strings.Replace(text, unset, fmt.Sprintf("\n%s = %q\n", key, value), 1)
}

// Again starts the snapshotter, also after Stop or Kill, and waits until its store is
// open.
func (s *Snapshotter) Again(t testing.TB) {
	t.Helper()
	if err := s.start(s.CheckServing); err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
}

// Start starts the snapshotter without waiting until it serves.
func (s *Snapshotter) Start(t testing.TB) {
	t.Helper()
	if err := s.start(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// Stop asks the snapshotter to end and waits for it.
func (s *Snapshotter) Stop(t testing.TB) {
	t.Helper()
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// Kill ends the snapshotter as a crash would.
func (s *Snapshotter) Kill(t testing.TB) {
	t.Helper()
	if err := s.end(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// CheckServing returns an error unless the snapshotter reports that it serves.
func (s *Snapshotter) CheckServing() error { return CheckHealth(SnapshotterSocket) }

// SnapshotterLayers lists the layers in the snapshotter's store.
func SnapshotterLayers() ([]string, error) {
	return filepath.Glob(filepath.Join(SnapshotterHome, "[0-9]*"))
}

// CheckNoSnapshotterLayers returns an error while the store holds layers.
func CheckNoSnapshotterLayers() error {
	left, err := SnapshotterLayers()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d layers are left in the store: %q", len(left), left)
	}
	return err
}

// CheckNoLimitDatasets returns an error while there are datasets of limited containers. They
// are destroyed in the background.
func CheckNoLimitDatasets(t testing.TB, dataset string) error {
	t.Helper()
	if left := inguest.ListDatasets(t, dataset); len(left) != 1 {
		return fmt.Errorf("datasets of limited containers are left: %q", left)
	}
	return nil
}

// CheckUnpacking returns an error until the store holds files of a layer that is being
// unpacked.
func CheckUnpacking() error {
	found, err := filepath.Glob(filepath.Join(SnapshotterHome, "[0-9]*", "diff", "usr", "*"))
	if err == nil && len(found) == 0 {
		err = errors.New("no layer is being unpacked")
	}
	return err
}
