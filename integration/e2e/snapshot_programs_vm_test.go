//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// programsEngine is an engine on a host where other programs take snapshots and replicate them.
type programsEngine struct {
	*snapshotEngine
	config string // sanoid's directory of configuration
	copied string // where syncoid replicates to
}

// TestBesideSnapshotPrograms runs sanoid, syncoid and zfs-auto-snapshot, as Debian
// packages them, beside limited containers that come and go. The guest's clock goes on by hours
// between two rounds. docs/snapshots.md has the configurations.
func TestBesideSnapshotPrograms(t *testing.T) {
	s := newProgramsEngine(t)
	t.Run("OneStepForAllDatasets", s.liveWithSnapshotsInOneStep)
	t.Run("OneDatasetAfterTheOther", s.liveWithSnapshotsOneByOne)
}

func newProgramsEngine(t *testing.T) *programsEngine {
	t.Helper()
	unpackPrograms(t)
	keepClock(t)
	t.Cleanup(func() { destroyRootSnapshots(t) })
	s := &programsEngine{snapshotEngine: newSnapshotEngine(t, true), config: t.TempDir(), copied: makeBackupPool(t) + "/docker"}
	importTiny(t, s.Engine, "tiny")
	return s
}

// unpackPrograms unpacks the packages that scripts/test hands over.
func unpackPrograms(t *testing.T) {
	t.Helper()
	packages, err := filepath.Glob("/lab/job/packages/*.deb")
	must(t, err)
	if len(packages) == 0 {
		t.Fatal("no packages in /lab/job/packages: scripts/test brings them")
	}
	for _, file := range packages {
		run(t, "dpkg-deb", "-x", file, "/")
	}
}

// keepClock puts the clock right at the end of the test.
func keepClock(t *testing.T) {
	t.Helper()
	begun := time.Now()
	t.Cleanup(func() { run(t, "date", "-s", fmt.Sprintf("@%d", begun.Add(time.Since(begun)).Unix())) })
}

// destroyRootSnapshots destroys what zfs-auto-snapshot leaves on the pool's root dataset.
func destroyRootSnapshots(t *testing.T) {
	t.Helper()
	for _, name := range strings.Fields(run(t, "zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-d", "1", "tank")) {
		run(t, "zfs", "destroy", name)
	}
}

// makeBackupPool makes a second pool, which zfs-auto-snapshot leaves alone.
func makeBackupPool(t *testing.T) string {
	t.Helper()
	const pool = "elsewhere"
	file := filepath.Join(inguest.MakeDiskDir(t), pool)
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Truncate(file, 4<<30))
	run(t, "zpool", "create", "-m", "none", "-O", "com.sun:auto-snapshot=false", pool, file)
	t.Cleanup(func() { run(t, "zpool", "destroy", pool) })
	return pool
}

// configureSanoid has sanoid keep the last hourly snapshot of the data-root's dataset and of those
// below it.
func (s *programsEngine) configureSanoid(t *testing.T, recursive string) {
	t.Helper()
	text := fmt.Sprintf("[%s]\nuse_template = day\nrecursive = %s\n\n"+
		"[template_day]\nhourly = 1\ndaily = 0\nmonthly = 0\nyearly = 0\nautosnap = yes\nautoprune = yes\n", s.records, recursive)
	must(t, os.WriteFile(filepath.Join(s.config, "sanoid.conf"), []byte(text), 0o600))
}

// runSanoid is a run of sanoid's timer, some hours after the last one.
func (s *programsEngine) runSanoid(t *testing.T) {
	t.Helper()
	run(t, "date", "-s", "+6 hours")
	run(t, "sanoid", "--configdir", s.config, "--take-snapshots", "--prune-snapshots")
}

// runAutoSnapshot is zfs-auto-snapshot's cron job.
func runAutoSnapshot(t *testing.T) {
	t.Helper()
	run(t, "zfs-auto-snapshot", "--quiet", "--label=hourly", "--keep=2", "//")
}

// replicate runs syncoid, and requires that the copies of all datasets that it does not exclude
// have the newest snapshot of their source. It may skip a spare, which has no snapshot yet.
func (s *programsEngine) replicate(t *testing.T, flags ...string) {
	t.Helper()
	out, err := exec.Command("syncoid", append(flags, "--recursive", s.records, s.copied)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	excluded := slices.ContainsFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "--exclude") })
	for _, dataset := range inguest.ListDatasets(t, s.records) {
		below := strings.TrimPrefix(dataset, s.records)
		if strings.Contains(below, "@") || excluded && strings.HasPrefix(below, "/layers/removed") {
			continue
		}
		if want, got := newestGUID(t, dataset), newestGUID(t, s.copied+below); got != want {
			t.Errorf("the newest snapshot of %s is %s, and that of its copy %s; syncoid (%v) says\n%s", dataset, want, got, err, out)
		}
	}
}

// newestGUID returns the GUID of a dataset's newest snapshot.
func newestGUID(t *testing.T, dataset string) string {
	t.Helper()
	guids := strings.Fields(run(t, "zfs", "list", "-H", "-o", "guid", "-t", "snapshot", "-s", "createtxg", "-d", "1", dataset))
	if len(guids) == 0 {
		return "none"
	}
	return guids[len(guids)-1]
}

// newestSnapshot returns the name of the newest snapshot of the layers that begins so.
func (s *programsEngine) newestSnapshot(t *testing.T, prefix string) string {
	t.Helper()
	all := strings.Fields(run(t, "zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-S", "createtxg", "-d", "1", s.dataset))
	for _, snapshot := range all {
		if _, name, _ := strings.Cut(snapshot, "@"); strings.HasPrefix(name, prefix) {
			return name
		}
	}
	t.Fatalf("no snapshot %s… among %q", prefix, all)
	return ""
}

// startLimited starts a limited container, and returns the name of its dataset below the layers'.
func (s *programsEngine) startLimited(t *testing.T, name string) (key string) {
	t.Helper()
	startContainer(t, s.Engine, name, "--storage-opt", "size=24M")
	return filepath.Base(s.readDriverData(t, name, "Dataset"))
}

// requireKept fails the test unless a removed container's dataset is where one rule finds it.
func (s *programsEngine) requireKept(t *testing.T, key string) {
	t.Helper()
	waitFor(t, func() error {
		if all := s.listContainerDatasets(t); !slices.Contains(all, s.dataset+"/removed/"+key) {
			return fmt.Errorf("%s is not below removed: %q", key, all)
		}
		return nil
	})
}

// awaitMoved waits until no dataset of these containers is among those of present ones: a snapshot
// that is taken before then keeps it. The rollback has brought them all back.
func (s *programsEngine) awaitMoved(t *testing.T, keys map[string]string) {
	t.Helper()
	waitFor(t, func() error {
		all := s.listContainerDatasets(t)
		for name, key := range keys {
			if slices.Contains(all, s.dataset+"/"+key) {
				return fmt.Errorf("the dataset of %s is not below removed: %q", name, all)
			}
		}
		return nil
	})
}

// restart starts the engine again, which looks at datasets of removed containers as the driver
// does every minute, and requires that exactly these containers' datasets are there.
func (s *programsEngine) restart(t *testing.T, keys ...string) {
	t.Helper()
	s.Stop(t)
	s.Again(t)
	var want []string
	for _, key := range keys {
		want = append(want, s.dataset+"/"+key)
	}
	slices.Sort(want)
	if err := poll(func() error { return compareLists(s.listContainerDatasets(t), want) }); err != nil {
		t.Errorf("datasets of limited containers: %v", err)
	}
}

// stopWhole stops the engine and waits for the end of its plugin. A rollback unmounts what a plugin
// leaves that was killed because its end took too long.
func (s *programsEngine) stopWhole(t *testing.T) {
	t.Helper()
	s.Stop(t)
	waitFor(t, func() error {
		for _, name := range []string{"overlayzfs-plugin", "containerd-shim-runc-v2"} {
			if pids := findProcesses(name); len(pids) > 0 {
				return fmt.Errorf("%s runs as %d", name, pids)
			}
		}
		return nil
	})
}

// requireRefusal fails the test unless a rollback is refused and changes nothing. Snapshots that
// sanoid takes one after the other have different names if a second ends between them.
func (s *programsEngine) requireRefusal(t *testing.T, name string) {
	t.Helper()
	before := inguest.ListDatasets(t, s.records)
	out, code := runOperator(t, "rollback", name, "--dataset", s.dataset, "--records", s.records, "--destroy-newer", "--yes")
	apart := strings.Contains(out, "were not taken in one step") || strings.Contains(out, "does not have snapshot "+name)
	if code != 3 || !apart {
		t.Errorf("a rollback to %s exits with %d and says\n%s", name, code, out)
	}
	if err := compareLists(inguest.ListDatasets(t, s.records), before); err != nil {
		t.Errorf("the refused rollback changed datasets: %v", err)
	}
}

// liveWithSnapshotsInOneStep is a day with `zfs snapshot -r` by sanoid.
func (s *programsEngine) liveWithSnapshotsInOneStep(t *testing.T) {
	s.configureSanoid(t, "zfs")
	apart := []string{"--no-sync-snap", "--exclude=/layers/removed(/|$)"}
	keys := map[string]string{}
	for i := range 4 {
		name := fmt.Sprintf("round%d", i)
		keys[name] = s.startLimited(t, name)
		s.runSanoid(t)
		if i == 1 {
			runAutoSnapshot(t)
			s.replicate(t, apart...)
		}
		if i > 0 {
			last := fmt.Sprintf("round%d", i-1)
			s.RemoveContainers(t, last)
			s.requireKept(t, keys[last])
		}
	}
	runAutoSnapshot(t)
	s.RemoveContainers(t, "round3")
	s.stopWhole(t)
	s.requireRefusal(t, s.newestSnapshot(t, "zfs-auto-snap_"))
	back := s.newestSnapshot(t, "autosnap_")
	if out, code := runOperator(t, "rollback", back, "--dataset", s.dataset, "--records", s.records, "--destroy-newer", "--yes"); code != 0 {
		t.Fatalf("the rollback to %s exits with %d and says\n%s", back, code, out)
	}
	s.Again(t)
	for _, name := range []string{"round2", "round3"} {
		s.StartContainers(t, name)
		requireIntact(t, s.Engine, name)
	}
	s.RemoveContainers(t, "round2", "round3")
	s.awaitMoved(t, keys)
	for range 2 {
		s.runSanoid(t)
	}
	s.replicate(t, apart...)
	s.restart(t)
}

// liveWithSnapshotsOneByOne is the same with one `zfs snapshot` for each dataset. syncoid takes
// snapshots of its own.
func (s *programsEngine) liveWithSnapshotsOneByOne(t *testing.T) {
	s.configureSanoid(t, "yes")
	stays, goes := s.startLimited(t, "stays"), s.startLimited(t, "goes")
	s.runSanoid(t)
	s.replicate(t)
	s.RemoveContainers(t, "goes")
	s.requireKept(t, goes)
	for range 2 {
		s.runSanoid(t)
	}
	s.replicate(t)
	s.restart(t, stays)
	s.StartContainers(t, "stays")
	requireIntact(t, s.Engine, "stays")
	s.stopWhole(t)
	s.requireRefusal(t, s.newestSnapshot(t, "autosnap_"))
	s.Again(t)
	s.StartContainers(t, "stays")
	requireIntact(t, s.Engine, "stays")
}
