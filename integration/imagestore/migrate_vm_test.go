//go:build vm

package imagestore

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// TestMigrationFromOverlay2 kills a migration to the snapshotter, goes on with it, takes it
// back when the engine has run, and finishes another.
func TestMigrationFromOverlay2(t *testing.T) {
	m := newMigrated(t, "overlay2")
	m.createContent(t)
	m.migrateUndoMigrate(t)
	m.finish(t)
}

// migrateUndoMigrate migrates with a kill on the way, undoes it, and migrates again, as often
// killed as there are moments. It leaves the engine stopped.
func (m *migrated) migrateUndoMigrate(t *testing.T, moments ...func() error) {
	t.Helper()
	before := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0, "--to", "snapshotter", "--dry-run")
	m.killMigration(t, m.hasBlob(t))
	m.migrate(t, 0, "--to", "snapshotter")
	if out := m.migrate(t, 3, "--finish"); !strings.Contains(out, "has not run with the snapshotter") {
		t.Errorf("before anything ran it says\n%s", out)
	}
	m.startOnStore(t)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.exercise(t)
	m.Stop(t)

	m.migrate(t, 0, "--undo")
	waitFor(t, engine.CheckNoSnapshotterLayers)
	waitFor(t, func() error {
		if blobs := m.listBlobs(t); len(blobs) > 0 {
			return fmt.Errorf("after the undo containerd has the blobs %q", blobs)
		}
		return nil
	})
	m.startOnOld(t)
	if got, want := m.Docker(t, "inspect", "-f", "{{.Config.Image}}", "by-id"), m.findImage(t, "committed"); got != want {
		t.Errorf("after the undo a container is of image %s, want %s", got, want)
	}
	requireSameFacts(t, "undone", dropRunTraces(m.collectFacts(t)), dropRunTraces(before))
	m.Stop(t)

	for _, moment := range moments {
		m.killMigration(t, moment)
	}
	m.migrate(t, 0, "--to", "snapshotter")
}

// TestMigrationFromVFS migrates from a driver whose layers are whole trees.
func TestMigrationFromVFS(t *testing.T) {
	m := newMigrated(t, "vfs")
	m.createContent(t)
	m.migrateOnce(t)
}

// migrateOnce migrates and finishes the migration.
func (m *migrated) migrateOnce(t *testing.T) {
	t.Helper()
	before := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0, "--to", "snapshotter")
	m.startOnStore(t)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.Stop(t)
	m.finish(t)
}

// finish runs the engine, finishes the migration, and removes everything with the engine.
func (m *migrated) finish(t *testing.T) {
	t.Helper()
	m.finishAndStart(t)
	m.Docker(t, "image", "prune", "-af")
	m.Docker(t, "image", "inspect", "committed") // the container that was made by its ID has it
	m.removeAll(t)
}

// finishAndStart runs the engine, finishes the migration, and runs the engine again.
func (m *migrated) finishAndStart(t *testing.T) {
	t.Helper()
	old := m.oldDriver
	m.startOnStore(t)
	m.requireContent(t)
	if got := m.Docker(t, "start", "-a", "plain"); got != "built" {
		t.Errorf("container plain has %q", got)
	}
	m.containerd.RequireOperator(t, m.Root, []string{"verify"})
	m.Stop(t)
	m.migrate(t, 0, "--finish")
	for _, name := range []string{old, "image/" + old, "overlayzfs-migrate"} {
		if fileExists(filepath.Join(m.Root, name)) {
			t.Errorf("%s is left", name)
		}
	}
	m.startOnStore(t)
	m.requireContent(t)
}

// removeAll removes containers and images, and with them all layers.
func (m *migrated) removeAll(t *testing.T) {
	t.Helper()
	m.Docker(t, append([]string{"rm", "-fv", "by-id"}, m.containers...)...)
	m.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// migrated is an engine that is moved to the snapshotter.
type migrated struct {
	*engine.Engine
	containerd *engine.Containerd
	oldDriver  string
	containers []string // whose facts are collected
}

func newMigrated(t *testing.T, driver string) *migrated {
	t.Helper()
	m, o := newStore(t, driver)
	m.Engine = engine.Start(t, o)
	return m
}

// newStore starts containerd and the snapshotter, and returns the options of an engine on an
// old driver beside them.
func newStore(t *testing.T, driver string) (*migrated, engine.Options) {
	t.Helper()
	dir, dataset := inguest.MakeDiskDir(t), "tank/migrated-"+driver
	engine.CreateDataset(t, dataset)
	m := &migrated{oldDriver: driver, containers: slices.Clone(migratedContainers), containerd: engine.StartContainerd(t, engine.ContainerdOptions{Root: filepath.Join(dir, "containerd"), Dataset: dataset})}
	root := filepath.Join(dir, "docker")
	t.Cleanup(func() { inguest.UnmountAt(t, root) })
	return m, engine.Options{
		Root: root, Driver: driver, Containerd: m.containerd.Address(),
		Config: map[string]any{"features": map[string]bool{"containerd-snapshotter": false}},
	}
}

var (
	migratedImages     = []string{"odds", "opaque:1", "committed", "second:name"}
	migratedContainers = []string{"changed", "of-opaque", "plain", "of-removed"}
)

// createContent makes images and containers: layers with deletions, a step of the classic
// builder, a container that has changed much, and one whose image was removed.
func (m *migrated) createContent(t *testing.T) {
	t.Helper()
	must(t, images.Import(m.Engine, "odds", images.WriteOdds))
	m.Docker(t, "load", "-i", writeOpaque(t))
	must(t, images.Classic.Build(m.Engine, "built", images.WriteContext(t, map[string]string{
		"Dockerfile": "FROM odds\nRUN rm -r /lower/keep-dir && echo built >/built\nENV key=value\n",
	})))
	m.Docker(t, "volume", "create", "kept")
	m.Docker(t, "run", "-d", "--network", "none", "--name", "changed", "-v", "kept:/kept", "-v", "/anonymous", "--memory", "64m", "--label", "a=b", "odds", "sleep", "1000000")
	m.MustExec(t, "changed", "sh", "-ec", "echo volume | tee /kept/file >/anonymous/file; mkdir -p /data/a; echo kept >/data/a/b; ln /data/a/b /data/c; ln -s b /data/a/l; mkfifo /data/pipe; chmod 2750 /data; rm -r /lower/keep-dir; rm /lower/keep-file; dd if=/dev/urandom of=/data/big bs=64k count=16")
	m.Docker(t, "commit", "changed", "committed")
	m.Docker(t, "create", "--network", "none", "--name", "by-id", m.findImage(t, "committed"), "true")
	m.Docker(t, "tag", "built", "second:name")
	m.Docker(t, "run", "--network", "none", "--name", "of-opaque", "opaque:1", "/bin/busybox", "sh", "-ec", "/bin/busybox rm -r /opt && /bin/busybox mkdir /opt && echo mine >/opt/mine; echo mine >/two")
	m.Docker(t, "create", "--network", "none", "--name", "plain", "built", "cat", "/built")
	must(t, images.Import(m.Engine, "removed:1", func(w io.Writer) error {
		_, err := w.Write(images.BusyboxLayer(t))
		return err
	}))
	m.Docker(t, "run", "--network", "none", "--name", "of-removed", "removed:1", "/bin/busybox", "sh", "-ec", "echo mine >/mine")
	m.Docker(t, "rmi", "-f", "removed:1")
	m.Docker(t, "stop", "-t", "0", "changed")
}

func (m *migrated) findImage(t *testing.T, name string) (id string) {
	t.Helper()
	return m.Docker(t, "image", "inspect", "-f", "{{.Id}}", name)
}

// writeOpaque writes an archive of busybox, a directory, and an opaque directory that hides it.
func writeOpaque(t *testing.T) string {
	t.Helper()
	entry := func(name string, kind byte, body string) images.Entry {
		return images.Entry{Header: tar.Header{Name: name, Mode: 0o755, Typeflag: kind}, Body: body}
	}
	return images.WriteArchive(t, "opaque:1", []string{"/bin/busybox"}, images.BusyboxLayer(t),
		images.MakeLayer(t, entry("opt/", tar.TypeDir, ""), entry("opt/hidden", tar.TypeReg, "below"), entry("gone", tar.TypeReg, "x"), entry("two", tar.TypeReg, "2")),
		images.MakeLayer(t, entry("opt/", tar.TypeDir, ""), entry("opt/.wh..wh..opq", tar.TypeReg, ""), entry("opt/shown", tar.TypeReg, "above"), entry(".wh.gone", tar.TypeReg, "")))
}

// collectFacts lists what an engine says about its images and containers, and every file of
// the containers. Left out is what the image store changes: IDs and sizes of images, drivers.
func (m *migrated) collectFacts(t *testing.T) (facts []string) {
	t.Helper()
	add := func(what, text string) {
		for line := range strings.Lines(text) {
			facts = append(facts, what+": "+strings.TrimSpace(line))
		}
	}
	add("image", m.Docker(t, "images", "--format", "{{.Repository}}:{{.Tag}} {{.CreatedAt}}"))
	add("container", m.Docker(t, "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Command}} {{.CreatedAt}} {{.State}} {{.Labels}}"))
	add("volume", m.Docker(t, "volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Mountpoint}}"))
	add("images", m.inspect(t, "image", migratedImages, "Architecture", "Author", "Comment", "Config", "Created", "Os", "RepoTags", "RootFS"))
	add("containers", m.inspect(t, "container", m.containers, "Id", "Created", "Path", "Args", "State", "Name", "RestartCount", "Config", "HostConfig", "Mounts", "NetworkSettings", "LogPath"))
	for _, name := range []string{"opaque:1", "committed"} {
		saved, _, err := images.Save(m.Engine, t.TempDir(), name)
		must(t, err)
		must(t, errors.Join(saved.Verify(), saved.Close()))
		add("layers of "+name, strings.Join(saved.DiffIDs, "\n"))
	}
	for _, name := range m.containers {
		diff := strings.Split(m.Docker(t, "diff", name), "\n")
		// For a directory that is deleted and made again, overlay2 reports the directory as
		// deleted. containerd and other drivers report the files in it.
		diff = slices.DeleteFunc(diff, func(line string) bool { return strings.Contains(line, " /opt") })
		slices.Sort(diff)
		add("diff "+name, strings.Join(diff, "\n"))
		add("files of "+name, strings.Join(m.listFiles(t, name), "\n"))
	}
	if len(facts) < 200 {
		t.Fatalf("too few facts to prove anything: %q", facts)
	}
	return facts
}

// inspect returns some fields of what docker inspect shows, each value in a line.
func (m *migrated) inspect(t *testing.T, kind string, names []string, fields ...string) string {
	t.Helper()
	var all []map[string]any
	must(t, json.Unmarshal([]byte(m.Docker(t, append([]string{kind, "inspect"}, names...)...)), &all))
	if len(all) != len(names) {
		t.Fatalf("docker %s inspect shows %d of %q", kind, len(all), names)
	}
	var lines []string
	for i, name := range names {
		// Docker 26 shows these of an image that the classic builder or a commit made. They are
		// not of OCI's format, and its image store does not show them.
		if config, ok := all[i]["Config"].(map[string]any); ok && kind == "image" {
			delete(config, "Hostname")
			delete(config, "Image")
		}
		for _, field := range fields {
			values, isList := all[i][field].([]any) // dockerd shows mounts in any order
			if !isList {
				values = []any{all[i][field]}
			}
			for _, value := range values {
				raw, err := json.Marshal(value)
				must(t, err)
				lines = append(lines, name+" "+field+" "+string(raw))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// listFiles lists the files of a stopped container. It omits the times of directories, which
// each driver sets its own way when a layer has files below them.
func (m *migrated) listFiles(t *testing.T, container string) (lines []string) {
	t.Helper()
	cmd := m.Command("cp", container+":/", "-")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	tree, err := treecmp.FromTar(out)
	must(t, err)
	_, err = io.Copy(io.Discard, out)
	must(t, errors.Join(err, cmd.Wait()))
	for _, entry := range tree.Entries {
		line, err := json.Marshal(entry)
		must(t, err)
		if entry.Type == treecmp.Dir {
			line = fmt.Appendf(nil, "%s %s %o %d:%d %v", entry.Path, entry.Type, entry.Mode, entry.UID, entry.GID, entry.Xattrs)
		}
		lines = append(lines, string(line))
	}
	return lines
}

func requireSameFacts(t *testing.T, what string, got, want []string) {
	t.Helper()
	var different []string
	for _, fact := range got {
		if !slices.Contains(want, fact) {
			different = append(different, "new:  "+fact)
		}
	}
	for _, fact := range want {
		if !slices.Contains(got, fact) {
			different = append(different, "gone: "+fact)
		}
	}
	if len(different) > 0 {
		t.Errorf("%s: %d facts differ:\n%s", what, len(different), strings.Join(different[:min(40, len(different))], "\n"))
	}
}

// dropRunTraces drops the facts that Docker changes with each run, outside of layers.
func dropRunTraces(facts []string) []string {
	return slices.DeleteFunc(slices.Clone(facts), func(fact string) bool {
		return slices.ContainsFunc([]string{
			`"SandboxID"`, `"StartedAt"`,
			`"path":"etc/hostname"`, `"path":"etc/hosts"`, `"path":"etc/resolv.conf"`,
		}, func(trace string) bool { return strings.Contains(fact, trace) })
	})
}

// migrate runs the operator's command, told nothing but the path of daemon.json.
func (m *migrated) migrate(t *testing.T, code int, args ...string) string {
	t.Helper()
	args = append([]string{"migrate", "--yes", "--config-file", m.UsedConfig()}, args...)
	raw, err := exec.Command(operatorPath, args...).CombinedOutput()
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		must(t, err)
	}
	t.Logf("overlayzfs %s: exit code %d\n%s", strings.Join(args, " "), got, raw)
	if got != code {
		t.Fatalf("overlayzfs %q exits with %d, want %d", args, got, code)
	}
	return string(raw)
}

// hasBlob returns what fails until containerd has a blob.
func (m *migrated) hasBlob(t *testing.T) func() error {
	return func() error {
		if len(m.listBlobs(t)) == 0 {
			return errors.New("there is no blob yet")
		}
		return nil
	}
}

// killMigration kills a migration when moment does not fail any more.
func (m *migrated) killMigration(t *testing.T, moment func() error) {
	t.Helper()
	cmd := exec.Command(operatorPath, "migrate", "--yes", "--config-file", m.UsedConfig(), "--to", "snapshotter")
	said := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = said, said
	must(t, cmd.Start())
	defer func() { t.Logf("the killed migration says\n%s", said) }()
	waitFor(t, moment)
	_ = cmd.Process.Kill()
	t.Logf("the killed migration: %v", cmd.Wait())
	raw, err := os.ReadFile(filepath.Join(m.Root, "overlayzfs-migrate/journal.json"))
	must(t, err)
	if strings.Contains(string(raw), `"phase": "done"`) { // it was faster than the kill
		m.migrate(t, 0, "--undo")
	}
}

// listBlobs lists the files of containerd's content store.
func (m *migrated) listBlobs(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(m.containerd.Root, "io.containerd.content.v1.content/blobs/sha256"))
	if !errors.Is(err, fs.ErrNotExist) {
		must(t, err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// startOnStore starts the engine on the image store, startOnOld on the old driver, with the
// daemon.json that the migration left.
func (m *migrated) startOnStore(t *testing.T) {
	t.Helper()
	m.startMigrated(t, engine.SnapshotterName, true)
}

func (m *migrated) startOnOld(t *testing.T) {
	t.Helper()
	m.startMigrated(t, m.oldDriver, false)
}

func (m *migrated) startMigrated(t *testing.T, driver string, store bool) {
	t.Helper()
	raw, err := os.ReadFile(m.UsedConfig())
	must(t, err)
	var left struct {
		Driver   string          `json:"storage-driver"`
		Features map[string]bool `json:"features"`
	}
	must(t, json.Unmarshal(raw, &left))
	if left.Driver != driver || left.Features["containerd-snapshotter"] != store {
		t.Fatalf("daemon.json is\n%s", raw)
	}
	m.Driver, m.Config = left.Driver, map[string]any{"features": left.Features}
	m.Again(t)
	if got := m.StorageDriver(t); got != driver {
		t.Fatalf("the engine's driver is %s, want %s", got, driver)
	}
}

// requireContent starts a container and reads its files.
func (m *migrated) requireContent(t *testing.T) {
	t.Helper()
	m.StartContainers(t, "changed")
	if got := m.MustExec(t, "changed", "sh", "-c", "cat /data/c /kept/file /anonymous/file; ls -d /lower/keep-dir /lower/keep-file 2>/dev/null; true"); got != "kept\nvolume\nvolume" {
		t.Errorf("container changed has %q", got)
	}
	m.Docker(t, "stop", "-t", "0", "changed")
}

// exercise changes and commits a container, runs programs in images, and builds on one.
func (m *migrated) exercise(t *testing.T) {
	t.Helper()
	m.requireContent(t)
	m.StartContainers(t, "changed")
	m.MustExec(t, "changed", "sh", "-c", "echo later >/later")
	m.Docker(t, "commit", "changed", "again")
	m.Docker(t, "stop", "-t", "0", "changed")
	must(t, images.BuildKit.Build(m.Engine, "on-top", images.WriteContext(t, map[string]string{"Dockerfile": "FROM second:name\nRUN echo top >>/built\n"})))
	if got := m.Docker(t, "run", "--rm", "--network", "none", "on-top", "sh", "-c", "cat /built; echo $key; ls /lower/keep-dir 2>/dev/null; true"); got != "built\ntop\nvalue" {
		t.Errorf("the image on top has %q", got)
	}
	m.Docker(t, "rmi", "again", "on-top")
}
