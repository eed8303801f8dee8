//go:build vm

package e2e

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
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// migratedEngine is an engine that is moved from one storage driver to another.
type migratedEngine struct{ *engine.Engine }

// runOperator runs the operator's command, told nothing but the path of daemon.json.
func (m *migratedEngine) runOperator(t testing.TB, code int, args ...string) string {
	t.Helper()
	out, got := runOperator(t, append(args, "--config-file", m.UsedConfig())...)
	if got != code {
		t.Fatalf("overlayzfs %q exits with %d, want %d\n%s", args, got, code, out)
	}
	return out
}

// migrate runs a migration without questions.
func (m *migratedEngine) migrate(t testing.TB, code int, args ...string) string {
	t.Helper()
	return m.runOperator(t, code, append([]string{"migrate", "--yes"}, args...)...)
}

// startMigrated starts the engine with the daemon.json that the migration left.
func (m *migratedEngine) startMigrated(t testing.TB, driver string) {
	t.Helper()
	raw, err := os.ReadFile(m.UsedConfig())
	must(t, err)
	var left struct {
		Driver       string   `json:"storage-driver"`
		Options      []string `json:"storage-opts"`
		Experimental bool
		Root         string `json:"data-root"`
	}
	must(t, json.Unmarshal(raw, &left))
	if left.Driver != driver || left.Root != m.Root || !left.Experimental {
		t.Fatalf("daemon.json is\n%s", raw)
	}
	m.Driver, m.Config = left.Driver, map[string]any{}
	if len(left.Options) > 0 {
		m.Config["storage-opts"] = left.Options
	}
	m.Again(t)
	if got := m.StorageDriver(t); got != driver {
		t.Fatalf("the engine's driver is %s, want %s", got, driver)
	}
}

// createContent makes eight images and five containers: shared bases, many layers,
// files deleted and replaced.
func (m *migratedEngine) createContent(t testing.TB, limit ...string) {
	t.Helper()
	importTiny(t, m.Engine, "tiny")
	importTiny(t, m.Engine, "other")
	must(t, images.Import(m.Engine, "odds", images.WriteOdds))
	buildImage(t, m.Engine, "built")
	must(t, images.BuildKit.Build(m.Engine, "long", writeLongContext(t)))
	m.Docker(t, "load", "-i", images.WriteArchive(t, "opaque:1", []string{"/bin/busybox"}, makeOpaqueLayers(t)...))
	startContainer(t, m.Engine, "changed")
	m.MustExec(t, "changed", "sh", "-c", "mkdir -p /data/a; echo kept >/data/a/b; ln /data/a/b /data/c; ln -s b /data/a/l; mkfifo /data/pipe; chmod 2750 /data; rm /etc/marker; echo new >/etc/new")
	m.Docker(t, "commit", "changed", "committed")
	m.Docker(t, "tag", "built", "second:name")
	startContainer(t, m.Engine, "limited", limit...)
	startContainer(t, m.Engine, "restarted")
	m.StopContainers(t, "changed", "limited", "restarted")
	m.Docker(t, "restart", "-t", "1", "restarted")
	m.MustExec(t, "restarted", "sh", "-c", "echo again >>/own")
	m.StopContainers(t, "restarted")
	m.Docker(t, "create", "--network", "none", "--name", "plain", "built", "true")
	m.runOfLong(t)
}

// replaceContent makes some of the content anew by the driver that the engine was migrated to:
// a limited container, an opaque directory, and a layer that BuildKit commits without a copy.
func (m *migratedEngine) replaceContent(t testing.TB, limit ...string) {
	t.Helper()
	m.Docker(t, "rm", "limited", "of-long")
	startContainer(t, m.Engine, "limited", limit...)
	m.StopContainers(t, "limited")
	m.runOfLong(t)
	must(t, images.BuildKit.Build(m.Engine, "other", images.WriteContext(t, map[string]string{
		"Dockerfile": "FROM other\nRUN rm -r /tmp /etc/marker && mkdir /tmp && echo new >/tmp/new\n",
	})))
}

// runOfLong makes the container of-long, which replaces a directory of the image long.
func (m *migratedEngine) runOfLong(t testing.TB) {
	t.Helper()
	m.Docker(t, "run", "--network", "none", "--name", "of-long", "long", "sh", "-c", "rm -r /dir && mkdir /dir && echo mine >/dir/mine; echo mine >/file1")
}

// writeLongContext writes the build context of an image of sixteen layers on tiny.
func writeLongContext(t testing.TB) string {
	t.Helper()
	dir, file := t.TempDir(), &strings.Builder{}
	fmt.Fprintln(file, "FROM tiny")
	for i := range 12 {
		name := fmt.Sprintf("file%d", i)
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name+"\n", 1000)), 0o640))
		fmt.Fprintf(file, "COPY %s /dir/%s\n", name, name)
	}
	fmt.Fprintln(file, "COPY file3 /dir/file4\nRUN rm /dir/file5 && mv /dir/file6 /file6\nCOPY file0 /file1\nRUN rm -r /dir && mkdir /dir && echo again >/dir/file0")
	must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file.String()), 0o600))
	return dir
}

// requireUnproven runs verify after a migration from a driver that compares size and time. A
// step of the image long changes the content alone, so Docker's record of the layer lacks it;
// the migration keeps what Docker showed, and nothing else differs.
func (m *migratedEngine) requireUnproven(t testing.TB) {
	t.Helper()
	out := m.runOperator(t, 5, "verify")
	if !strings.Contains(out, `"dir/file4": is not in the tar`) || !strings.Contains(out, "records prove nothing of 1 layer ") {
		t.Errorf("verify says\n%s", out)
	}
}

// makeOpaqueLayers returns three layers: busybox, a directory, and an opaque directory
// that hides it.
func makeOpaqueLayers(t testing.TB) [][]byte {
	t.Helper()
	entry := func(name string, kind byte, body string) images.Entry {
		return images.Entry{Header: tar.Header{Name: name, Mode: 0o755, Typeflag: kind}, Body: body}
	}
	return [][]byte{
		images.BusyboxLayer(t),
		images.MakeLayer(t, entry("opt/", tar.TypeDir, ""), entry("opt/hidden", tar.TypeReg, "below"), entry("gone", tar.TypeReg, "x")),
		images.MakeLayer(t, entry("opt/", tar.TypeDir, ""), entry("opt/.wh..wh..opq", tar.TypeReg, ""), entry("opt/shown", tar.TypeReg, "above"), entry(".wh.gone", tar.TypeReg, "")),
	}
}

var (
	movedImages     = []string{"tiny", "other", "odds", "built", "long", "opaque:1", "committed", "second:name"}
	movedContainers = []string{"changed", "limited", "restarted", "plain", "of-long"}
)

// collectFacts lists what an engine says about its images and containers, and every
// file of the containers.
func (m *migratedEngine) collectFacts(t testing.TB) (facts []string) {
	t.Helper()
	add := func(what string, lines ...string) {
		for _, line := range lines {
			facts = append(facts, what+": "+strings.TrimSpace(line))
		}
	}
	var found []struct {
		ID       string `json:"Id"`
		ParentID string `json:"ParentId"`
		RepoTags []string
		Created  int64
		Size     int64
	}
	m.Ask(t, "/images/json?all=1", &found)
	for _, image := range found {
		slices.Sort(image.RepoTags)
		add("image", fmt.Sprint(image))
	}
	var listed []struct {
		ID                             string `json:"Id"`
		Names                          []string
		Image, ImageID, Command, State string
		Created                        int64
	}
	m.Ask(t, "/containers/json?all=1", &listed)
	for _, container := range listed {
		add("container", fmt.Sprint(container))
	}
	for _, name := range movedImages {
		add("inspect "+name, m.inspectWithoutDriver(t, "/images/"+name)...)
		add("saved "+name, m.saveDigests(t, name)...)
	}
	for _, name := range movedContainers {
		add("inspect "+name, m.inspectWithoutDriver(t, "/containers/"+name)...)
		add("diff "+name, m.listChanges(t, name)...)
		add("files of "+name, m.listContainerFiles(t, name)...)
	}
	if len(facts) < 200 || len(found) < len(movedImages)-1 || len(listed) != len(movedContainers) {
		t.Fatalf("too few facts to prove anything: %q", facts)
	}
	return facts
}

// inspectWithoutDriver returns the lines of what the engine says of an object, without the
// storage driver's part.
func (m *migratedEngine) inspectWithoutDriver(t testing.TB, path string) []string {
	t.Helper()
	var object map[string]any
	m.Ask(t, path+"/json", &object)
	delete(object, "Driver")
	delete(object, "GraphDriver")
	raw, err := json.MarshalIndent(object, "", " ")
	must(t, err)
	return strings.Split(string(raw), "\n")
}

// listChanges lists what docker diff shows.
func (m *migratedEngine) listChanges(t testing.TB, name string) (lines []string) {
	t.Helper()
	var changes []struct {
		Kind int
		Path string
	}
	m.Ask(t, "/containers/"+name+"/changes", &changes)
	for _, change := range changes {
		// For a directory that is deleted and made again, moby's overlay2 reports the
		// directory as deleted. Other drivers report the files in it.
		if !strings.HasPrefix(change.Path, "/dir") {
			lines = append(lines, fmt.Sprint(change))
		}
	}
	slices.Sort(lines)
	return lines
}

// saveDigests saves an image and returns the digests of its layers, each verified
// against the content.
func (m *migratedEngine) saveDigests(t testing.TB, name string) []string {
	t.Helper()
	out, err := m.Get(t.Context(), "/images/"+name+"/get")
	must(t, err)
	defer out.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "saved.tar"))
	must(t, err)
	_, err = io.Copy(f, out)
	must(t, errors.Join(err, f.Close()))
	image, err := treecmp.OpenImage(f.Name())
	must(t, err)
	defer image.Close()
	must(t, image.Verify())
	return append([]string{image.ID}, image.DiffIDs...)
}

// listContainerFiles lists the files of a stopped container. It omits the times of
// directories, which each driver sets its own way when a layer has files below them.
func (m *migratedEngine) listContainerFiles(t testing.TB, container string) (lines []string) {
	t.Helper()
	out, err := m.Get(t.Context(), "/containers/"+container+"/archive?path=/")
	must(t, err)
	defer out.Close()
	tree, err := treecmp.FromTar(out)
	must(t, err)
	_, err = io.Copy(io.Discard, out)
	must(t, err)
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

// requireSameFacts fails the test when two lists of facts differ.
func requireSameFacts(t testing.TB, what string, got, want []string) {
	t.Helper()
	different := differences(got, want)
	if len(different) > 0 {
		t.Errorf("%s: %d facts differ:\n%s", what, len(different), strings.Join(different[:min(40, len(different))], "\n"))
	}
}

// dropRunTraces drops the facts that Docker changes with each run. They lie outside of
// layers, so that an undo does not restore them.
func dropRunTraces(facts []string) []string {
	return slices.DeleteFunc(slices.Clone(facts), func(fact string) bool {
		return slices.ContainsFunc(runTraces, func(trace string) bool { return strings.Contains(fact, trace) })
	})
}

var runTraces = []string{
	`"SandboxID"`, `"SandboxKey"`, `"StartedAt"`, `"FinishedAt"`,
	`"path":"etc/hostname"`, `"path":"etc/hosts"`, `"path":"etc/resolv.conf"`,
}

// exerciseContent starts the containers and runs a program in an image.
func (m *migratedEngine) exerciseContent(t testing.TB) {
	t.Helper()
	for _, name := range []string{"changed", "limited", "restarted"} {
		m.StartContainers(t, name)
	}
	requireIntact(t, m.Engine, "limited")
	requireIntact(t, m.Engine, "restarted")
	if out := m.MustExec(t, "changed", "sh", "-c", "cat /data/c /etc/new; ls /etc/marker 2>/dev/null; true"); out != "kept\nnew" {
		t.Errorf("container changed has %q", out)
	}
	if out := runTiny(t, m.Engine, "long", "sh", "-c", "cat /dir/file0; ls /dir"); out != "again\nfile0" {
		t.Errorf("image long has %q", out)
	}
	m.StopContainers(t, "changed", "limited", "restarted")
}

// listRecordedLayers lists the layers that Docker records for images and containers.
func (m *migratedEngine) listRecordedLayers(t testing.TB) (ids []string) {
	t.Helper()
	for _, pattern := range []string{"sha256/*/cache-id", "mounts/*/mount-id", "mounts/*/init-id"} {
		files, err := filepath.Glob(filepath.Join(m.Root, "image/*/layerdb", pattern))
		must(t, err)
		for _, file := range files {
			id, err := os.ReadFile(file)
			must(t, err)
			ids = append(ids, string(id))
		}
	}
	if len(ids) < 30 {
		t.Fatalf("Docker has the layers %q only", ids)
	}
	return ids
}

// requireLimit fails the test unless the plugin reports this limit for the container
// "limited".
func (m *migratedEngine) requireLimit(t testing.TB, want int) {
	t.Helper()
	if size := m.Docker(t, "inspect", "-f", `{{index .GraphDriver.Data "Size"}}`, "limited"); size != strconv.Itoa(want) {
		t.Errorf("the limit is %s bytes, want %d", size, want)
	}
}

// readPhase returns the phase in the migration's journal below a data-root, or "" when
// no migration is in progress.
func readPhase(t testing.TB, root string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "overlayzfs-migrate/journal.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(t, err)
	var job struct{ Phase string }
	must(t, json.Unmarshal(raw, &job))
	return job.Phase
}

func (m *migratedEngine) currentPhase(t testing.TB) string { return readPhase(t, m.Root) }

// migrateAndKill starts a migration, which after kills. It reports whether the
// migration ended before the kill.
func (m *migratedEngine) migrateAndKill(t testing.TB, after func(kill func()), args ...string) (ended bool) {
	t.Helper()
	cmd := exec.Command(operatorPath, append([]string{"migrate", "--yes", "--config-file", m.UsedConfig()}, args...)...)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	after(func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if err != nil && cmd.ProcessState.Exited() {
		t.Fatalf("overlayzfs migrate %q: %v\n%s", args, err, out)
	}
	return err == nil
}
