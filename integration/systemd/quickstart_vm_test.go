//go:build vm

package systemd

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// greeting is what the lab's image hello-world prints.
const greeting = "Hello from the lab"

// quickStart is the host of a reader of quickStartPage.
type quickStart struct {
	*host
	pkg      string            // the package's file
	driver   string            // Docker's before the first step
	bare     map[string]string // the host before the first step
	packaged map[string]string // the host with the package alone
	snapshot string            // name that overlayzfs snapshot printed
	keys     string            // the document's daemon.json
}

// newQuickStart starts a host without overlayzfs, whose Docker has an image.
func newQuickStart(t *testing.T) *quickStart {
	t.Helper()
	q := &quickStart{host: startHost(t), pkg: os.Getenv("OVERLAYZFS_DEB")}
	if q.pkg == "" {
		t.Fatal("OVERLAYZFS_DEB is not set")
	}
	t.Cleanup(func() { inguest.Run(t, "dpkg", "--purge", "overlayzfs") })
	q.load(t, "former", "true")
	q.bare, q.driver = q.describe(t), q.readDriver(t)
	return q
}

// load has Docker load an image of busybox.
func (q *quickStart) load(t *testing.T, name string, command ...string) {
	t.Helper()
	archive := images.WriteArchive(t, "docker.io/library/"+name+":latest", append([]string{"/bin/busybox"}, command...), images.BusyboxLayer(t))
	q.run(t, "docker", "load", "-i", archive)
}

// runStep takes a step and returns its output.
func (q *quickStart) runStep(t *testing.T, step walkthrough.Match) string {
	t.Helper()
	switch {
	case step.Language != walkthrough.Shell:
		q.keys = step.Text // of daemon.json, for readers who do without setup
		return ""
	case step.Begins == "docker run --rm hello-world":
		q.load(t, "hello-world", "echo", greeting) // the guest cannot pull
	case step.Begins == "apt purge overlayzfs":
		return q.run(t, "dpkg", "--purge", "overlayzfs") // the guest has no apt
	}
	out, err := step.Run(q.command(filepath.Dir(q.pkg), "sh", "-c", adaptCommand(step.Text, q.version())))
	must(t, err)
	return out
}

// version returns the version in the name of the package's file.
func (q *quickStart) version() string {
	name := strings.TrimPrefix(filepath.Base(q.pkg), "overlayzfs_")
	return strings.TrimSuffix(name, "_amd64.deb")
}

// checks maps the names in quickStartSteps to what the reader is told to see. Each check
// gets the output of the command before it.
func (q *quickStart) checks() map[string]func(t *testing.T, out string) {
	return map[string]func(*testing.T, string){
		"the package":                 q.checkPackage,
		"Docker on the snapshotter":   q.checkDocker,
		"the keys of setup":           q.checkKeys,
		"its greeting":                requireMatch("^" + greeting + "$"),
		"its layer":                   requireMatch(`(?m)^sha256:[0-9a-f]{64}\s.*Committed`),
		"its space":                   requireMatch(`(?m)^sha256:[0-9a-f]{64}\s+[0-9.]+ [KM]iB`),
		"the image":                   requireMatch(`\bhello-world\b`),
		"one image":                   requireMatch(`(?mi)^images\s+1\b`),
		"a name":                      q.recordSnapshotName,
		"the snapshot, and pods":      q.checkSnapshotAndPods,
		"the host before setup":       q.checkUndone,
		"the host before the package": q.checkPurged,
	}
}

// requireMatch returns a check that the output matches a pattern.
func requireMatch(pattern string) func(*testing.T, string) {
	return func(t *testing.T, out string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("the output does not match %s:\n%s", pattern, out)
		}
	}
}

// checkPackage checks the files that the document names, and that the unit is not enabled.
func (q *quickStart) checkPackage(t *testing.T, _ string) {
	q.run(t, "sh", "-c", "overlayzfs --version && docker overlayzfs --version && ls /usr/share/overlayzfs/plugin/config.json")
	if out, err := q.try("systemctl", "is-enabled", unit); err == nil || out != "disabled" {
		t.Errorf("the unit is %q", out)
	}
	q.packaged = q.describe(t)
}

func (q *quickStart) checkDocker(t *testing.T, _ string) {
	requireMatch(`(?m)^ Storage Driver: overlayzfs$`)(t, q.run(t, "docker", "info"))
	if out := q.run(t, "docker", "image", "ls", "-aq") + q.run(t, "docker", "ps", "-aq"); out != "" {
		t.Errorf("the proof has left %s", out)
	}
	if got := inguest.Run(t, "findmnt", "-N", q.pid, "-n", "-o", "SOURCE", engine.SnapshotterHome); got != setupParent+"/layers" {
		t.Errorf("the store lies on %s", got)
	}
}

// checkKeys checks that setup wrote the keys that the document has for other tools.
func (q *quickStart) checkKeys(t *testing.T, _ string) {
	var want, got map[string]any
	must(t, json.Unmarshal([]byte(q.keys), &want))
	raw, err := os.ReadFile(daemonJSON)
	must(t, err)
	must(t, json.Unmarshal(raw, &got))
	for key, value := range want {
		if !reflect.DeepEqual(got[key], value) {
			t.Errorf("daemon.json has %q: %v, and the document %v", key, got[key], value)
		}
	}
}

// recordSnapshotName keeps the snapshot's name, which the next step shows. A note that the
// snapshot has layers only is printed, too.
func (q *quickStart) recordSnapshotName(t *testing.T, out string) {
	q.snapshot = regexp.MustCompile(`(?m)^overlayzfs-\S+$`).FindString(out)
	if q.snapshot == "" {
		t.Errorf("the output names no snapshot:\n%s", out)
	}
}

// checkSnapshotAndPods checks the list of snapshots. Then it puts the CRI on the
// snapshotter, too, which the document does not tell.
func (q *quickStart) checkSnapshotAndPods(t *testing.T, out string) {
	requireMatch(`(?m)^`+regexp.QuoteMeta(q.snapshot)+`\s+manual\b`)(t, out)
	again := []string{"overlayzfs", "setup", setupParent, "--pods", "--yes"}
	t.Log(q.run(t, again...))
	q.requireDriver(t, engine.SnapshotterName)
	archive := images.WriteArchive(t, q.sandboxImage(t), []string{"/bin/busybox", "sleep", "1000000"}, images.BusyboxLayer(t))
	q.runPod(t, archive)
	requireMatch("Nothing to do")(t, q.run(t, again...))
}

// checkUndone checks that Docker has its former driver and image. The layers stay, because
// an image is there; they go when that is said.
func (q *quickStart) checkUndone(t *testing.T, _ string) {
	q.requireDriver(t, q.driver)
	q.run(t, "docker", "run", "--rm", "--network", "none", "former")
	if err := exec.Command("zfs", "list", setupParent+"/layers").Run(); err != nil {
		t.Error("the layers are gone")
	}
	t.Log(q.run(t, "overlayzfs", "setup", "--undo", "--layers", "--yes"))
	if diff := cmp.Diff(q.packaged, q.describe(t)); diff != "" {
		t.Errorf("- before setup, + after its undo:\n%s", diff)
	}
}

func (q *quickStart) checkPurged(t *testing.T, _ string) {
	if diff := cmp.Diff(q.bare, q.describe(t)); diff != "" {
		t.Errorf("- before the package, + after its purge:\n%s", diff)
	}
}
