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
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// Paths and datasets of the newcomer's host, as the documents name them.
const (
	newcomerRoot   = "/var/lib/docker"
	newcomerConfig = "/etc/docker/daemon.json"
	newcomerData   = "tank/docker"
	newcomerLayers = "tank/docker/layers"
)

// TestNewcomer follows README.md and the plugin's quick start from the first command to
// the last, on a host whose Docker uses overlay2 on ZFS.
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
	walkthrough.Follow(t, steps, n.runStep, n.checks())
}

// newcomer is the host of a reader who has an engine and does not know overlayzfs.
type newcomer struct {
	*engine.Engine
	checkout string   // working directory of commands
	snapshot string   // name that overlayzfs snapshot printed
	image    string   // ID of the image that the reader builds
	former   []string // images and containers before the first step
	datasets []string // before the first step
}

// newNewcomer starts an engine with two images and a container.
func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	t.Cleanup(func() { destroyIfPresent(t, newcomerLayers, newcomerData) })
	run(t, "zfs", "create", "-o", "mountpoint="+newcomerRoot, newcomerData)
	must(t, os.MkdirAll(filepath.Dir(newcomerConfig), 0o755))
	must(t, os.WriteFile(newcomerConfig, []byte("{}\n"), 0o644))
	t.Cleanup(func() { must(t, os.Remove(newcomerConfig)) })
	n := &newcomer{checkout: t.TempDir(), datasets: inguest.ListDatasets(t, "tank")}
	n.Engine = engine.Start(t, engine.Options{Root: newcomerRoot, ConfigFile: newcomerConfig, Containerd: startContainerd(t)})
	must(t, os.Symlink(filepath.Dir(engine.PluginDir(t)), filepath.Join(n.checkout, "build")))
	importTiny(t, n.Engine, "tiny")
	must(t, images.BuildKit.Build(n.Engine, "mine", writeBuildContext(t)))
	startContainer(t, n.Engine, "work")
	n.Docker(t, "stop", "work")
	n.former = n.listContent(t)
	n.requireDriver(t, "overlay2")
	return n
}

// destroyIfPresent removes what a failed test left.
func destroyIfPresent(t *testing.T, datasets ...string) {
	t.Helper()
	for _, dataset := range datasets {
		if exec.Command("zfs", "list", dataset).Run() == nil {
			run(t, "zfs", "destroy", "-r", dataset)
		}
	}
}

// runStep runs a step and returns its output.
func (n *newcomer) runStep(t *testing.T, step walkthrough.Match) string {
	t.Helper()
	instead, ok := n.replacements()[step.Begins]
	switch {
	case ok:
		instead(t)
	case step.Language == walkthrough.Shell:
		return n.runInShell(t, step)
	default:
		must(t, os.WriteFile(newcomerConfig, []byte(step.Text), 0o644)) // the documents have their reader write no other file
	}
	return ""
}

// replacements maps steps that the guest cannot follow to what the test does instead.
// The guest has neither systemd nor Go, and cannot pull.
func (n *newcomer) replacements() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"make plugin build":                   n.checkBuilt,
		"docker pull busybox":                 func(t *testing.T) { importTiny(t, n.Engine, "busybox") },
		"systemctl stop docker.socket docker": n.stopEngine,
		"systemctl start docker":              func(t *testing.T) { n.Again(t) },
		"systemctl restart docker":            func(t *testing.T) { n.stopEngine(t); n.Again(t) },
	}
}

// checkBuilt checks that the lab has built the programs.
func (n *newcomer) checkBuilt(t *testing.T) {
	for _, path := range []string{"build/plugin/config.json", "build/overlayzfs"} {
		_, err := os.Stat(filepath.Join(n.checkout, path))
		must(t, err)
	}
}

// stopEngine stops the engine and waits until its mounts are gone.
func (n *newcomer) stopEngine(t *testing.T) {
	t.Helper()
	n.Stop(t)
	waitFor(t, func() error { return compareLists(listMountsBelow(t, n.Root, newcomerLayers), nil) })
}

// runInShell runs a command in a shell, on a terminal if the command asks.
func (n *newcomer) runInShell(t *testing.T, step walkthrough.Match) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", adaptCommand(step.Text, n.snapshot))
	cmd.Dir, cmd.Env = n.checkout, n.Command().Env
	out, err := step.Run(cmd)
	must(t, err)
	return out
}

// listContent lists images and containers as Docker shows them.
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
