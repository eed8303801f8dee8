//go:build vm

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// Where a newcomer has what the documents speak of.
const (
	newcomerRoot   = "/var/lib/docker"
	newcomerConfig = "/etc/docker/daemon.json"
	newcomerData   = "tank/docker"
	newcomerLayers = "tank/docker/layers"
)

// TestNewcomer follows README.md and the plugin's quick start from the first command to
// the last, on a machine whose Docker uses overlay2 on ZFS.
func TestNewcomer(t *testing.T) {
	var texts []string
	for _, document := range newcomerDocuments {
		raw, err := os.ReadFile(filepath.Base(document)) // scripts/test puts them beside the test
		must(t, err)
		texts = append(texts, string(raw))
	}
	steps, err := matchSteps(texts)
	must(t, err)
	n := newNewcomer(t)
	looks := n.checks()
	for _, step := range steps {
		if step.not != "" {
			continue
		}
		out := n.runStep(t, step)
		t.Logf("%s, line %d: %s\n%s", step.document, step.Line, step.Text, out)
		for _, label := range step.Labels() {
			if !strings.Contains(out, label+":") {
				t.Errorf("%s shows %q, which the command does not print", step.document, label)
			}
		}
		if step.sees != "" {
			look, ok := looks[step.sees]
			if !ok {
				t.Fatalf("how to see %s is not known", step.sees)
			}
			look(t, out)
		}
	}
}

// newcomer is somebody who has an engine, and never heard of us.
type newcomer struct {
	*engine.Engine
	checkout string   // where commands are typed
	snapshot string   // as the command has named it
	image    string   // ID of the one that is built
	former   []string // images and containers of before
	datasets []string // of before
}

// newNewcomer has two images and a container.
func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	t.Cleanup(func() { destroyIfThere(t, newcomerLayers, newcomerData) })
	run(t, "zfs", "create", "-o", "mountpoint="+newcomerRoot, newcomerData)
	must(t, os.MkdirAll(filepath.Dir(newcomerConfig), 0o755))
	must(t, os.WriteFile(newcomerConfig, []byte("{}\n"), 0o644))
	t.Cleanup(func() { must(t, os.Remove(newcomerConfig)) })
	n := &newcomer{checkout: t.TempDir(), datasets: listDatasets(t, "tank")}
	n.Engine = engine.Start(t, engine.Options{Root: newcomerRoot, ConfigFile: newcomerConfig})
	must(t, os.Symlink(filepath.Dir(engine.PluginDir(t)), filepath.Join(n.checkout, "build")))
	importTiny(t, n.Engine, "tiny")
	must(t, images.BuildKit.Build(n.Engine, "mine", writeBuildContext(t)))
	startContainer(t, n.Engine, "work")
	n.Docker(t, "stop", "work")
	n.former = n.listContent(t)
	n.requireDriver(t, "overlay2")
	return n
}

// destroyIfThere is for what a test that failed has left.
func destroyIfThere(t *testing.T, datasets ...string) {
	t.Helper()
	for _, dataset := range datasets {
		if exec.Command("zfs", "list", dataset).Run() == nil {
			run(t, "zfs", "destroy", "-r", dataset)
		}
	}
}

// runStep does a step, and returns what it printed.
func (n *newcomer) runStep(t *testing.T, step documentStep) string {
	t.Helper()
	instead, ok := n.replacements()[step.begins]
	switch {
	case ok:
		instead(t)
	case step.Language == walkthrough.Shell:
		return n.runInShell(t, step)
	default:
		must(t, os.WriteFile(newcomerConfig, []byte(step.Text), 0o644)) // the only file there is to write
	}
	return ""
}

// replacements is what is done for steps that the guest cannot follow: it has neither
// systemd nor Go, and can pull nothing.
func (n *newcomer) replacements() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"make plugin build":                   n.checkBuilt,
		"docker pull busybox":                 func(t *testing.T) { importTiny(t, n.Engine, "busybox") },
		"systemctl stop docker.socket docker": n.stopEngine,
		"systemctl start docker":              func(t *testing.T) { n.Again(t) },
		"systemctl restart docker":            func(t *testing.T) { n.stopEngine(t); n.Again(t) },
	}
}

// checkBuilt is true of the lab, where all was built before.
func (n *newcomer) checkBuilt(t *testing.T) {
	for _, path := range []string{"build/plugin/config.json", "build/overlayzfs"} {
		_, err := os.Stat(filepath.Join(n.checkout, path))
		must(t, err)
	}
}

// stopEngine the engine. Its mounts may outlive it by a moment.
func (n *newcomer) stopEngine(t *testing.T) {
	t.Helper()
	n.Stop(t)
	waitFor(t, func() error { return compareLists(listMountsBelow(t, n.Root, newcomerLayers), nil) })
}

// runInShell has the shell run a command, on a terminal if it asks.
func (n *newcomer) runInShell(t *testing.T, step documentStep) string {
	t.Helper()
	text := adaptCommand(step.Text, n.snapshot)
	cmd := exec.Command("sh", "-c", text)
	if step.asks {
		cmd = exec.Command("script", "--quiet", "--return", "--command", text, "/dev/null")
		cmd.Stdin = strings.NewReader("y\n")
	}
	cmd.Dir, cmd.Env = n.checkout, n.Command().Env
	raw, err := cmd.CombinedOutput()
	if out := string(raw); (err != nil) != (step.fails != "") || !strings.Contains(out, step.fails) {
		t.Fatalf("%s, line %d: %s: %v\n%s", step.document, step.Line, text, err, out)
	}
	return strings.TrimSpace(string(raw))
}

// listContent are the images and containers that Docker shows.
func (n *newcomer) listContent(t *testing.T) []string {
	t.Helper()
	return slices.Concat(
		strings.Split(n.Docker(t, "images", "-a", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"), "\n"),
		strings.Split(n.Docker(t, "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.State}}"), "\n"),
	)
}

func (n *newcomer) requireDriver(t *testing.T, driver string) {
	t.Helper()
	if got := n.Docker(t, "info", "-f", "{{.Driver}}"); got != driver {
		t.Fatalf("the engine's driver is %s, want %s", got, driver)
	}
}
