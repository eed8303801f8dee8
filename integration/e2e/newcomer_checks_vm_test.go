//go:build vm

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// checks maps the names in newcomerSteps to what a newcomer is told to see. Each check
// gets the output of the command before it.
func (n *newcomer) checks() map[string]func(t *testing.T, out string) {
	on := func(driver string) func(*testing.T, string) {
		return func(t *testing.T, _ string) { n.requireFormerContent(t, driver) }
	}
	return map[string]func(*testing.T, string){
		"the driver":                      n.checkDriver,
		"an image":                        n.recordImage,
		"its file":                        requireOutput("^hello$"),
		"the limit":                       requireOutput(`\b100(\.0)?M\b`),
		"a name":                          n.recordSnapshotName,
		"the snapshot":                    func(t *testing.T, out string) { requireOutput(regexp.QuoteMeta(n.snapshot))(t, out) },
		"no image":                        n.checkImageGone,
		"the same image":                  n.checkImageRestored,
		"the plan":                        n.checkPlanAndTryFormerDriver,
		"the former names":                n.checkFormerNames,
		"the former images on the plugin": on(engine.PluginName),
		"the former images on overlay2":   on("overlay2"),
		"nothing of ours":                 n.checkUninstalled,
	}
}

// requireOutput returns a check that the output matches a pattern.
func requireOutput(pattern string) func(*testing.T, string) {
	return func(t *testing.T, out string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("the output does not match %s:\n%s", pattern, out)
		}
	}
}

// checkDriver checks the driver in docker info. The former images are not migrated yet
// at this step.
func (n *newcomer) checkDriver(t *testing.T, out string) {
	for _, line := range []string{"Storage Driver: overlayzfs", "Backing Filesystem: zfs", "Dataset: " + newcomerLayers, "Sync: disabled"} {
		if !strings.Contains(out, line) {
			t.Errorf("docker info has no %q", line)
		}
	}
	if has := n.Docker(t, "images", "-q") + n.Docker(t, "ps", "-aq"); has != "" {
		t.Errorf("Docker shows images or containers that are not migrated yet: %s", has)
	}
}

func (n *newcomer) recordImage(t *testing.T, _ string) {
	n.image = n.Docker(t, "image", "inspect", "-f", "{{.Id}}", "hello")
}

// recordSnapshotName keeps the snapshot's name, which a later step needs.
func (n *newcomer) recordSnapshotName(t *testing.T, out string) {
	requireOutput("^overlayzfs-[^ \n]+$")(t, out)
	n.snapshot = out
}

func (n *newcomer) checkImageGone(t *testing.T, _ string) {
	if out, err := n.Try("image", "inspect", "hello"); err == nil {
		t.Errorf("the image is still there: %s", out)
	}
}

// checkImageRestored checks that the rollback restored the image and the container.
func (n *newcomer) checkImageRestored(t *testing.T, out string) {
	if findLine(out, "small", "hello") == "" {
		t.Errorf("the container is not back:\n%s", out)
	}
	if id := n.Docker(t, "image", "inspect", "-f", "{{.Id}}", "hello"); id != n.image {
		t.Errorf("the image is %s, and was %s", id, n.image)
	}
	n.Docker(t, "start", "small")
	requireOutput("^hello$")(t, n.Docker(t, "exec", "small", "sh", "-c", "test -s /big && cat /greeting"))
}

// checkPlanAndTryFormerDriver checks the migration's plan while the engine is stopped.
// A reader who only tried the plugin stops here: without the driver in daemon.json the
// engine uses the former one again.
func (n *newcomer) checkPlanAndTryFormerDriver(t *testing.T, out string) {
	requireOutput("2 images and 1 container of the driver overlay2")(t, out)
	config, err := os.ReadFile(newcomerConfig)
	must(t, err)
	must(t, os.WriteFile(newcomerConfig, []byte(`{"experimental": true}`), 0o644))
	n.Again(t)
	n.requireFormerContent(t, "overlay2")
	n.stopEngine(t)
	must(t, os.WriteFile(newcomerConfig, config, 0o644))
}

func (n *newcomer) checkFormerNames(t *testing.T, out string) {
	for _, name := range []string{"tiny:latest", "mine:latest", "work"} {
		if !strings.Contains(out, name) {
			t.Errorf("the output lacks %s:\n%s", name, out)
		}
	}
}

// requireFormerContent checks that the engine has the former images and containers, and
// that they work.
func (n *newcomer) requireFormerContent(t *testing.T, driver string) {
	t.Helper()
	n.requireDriver(t, driver)
	requireSameFacts(t, "on "+driver, n.listContent(t), n.former)
	if out := runTiny(t, n.Engine, "mine", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	n.Docker(t, "start", "work")
	requireIntact(t, n.Engine, "work")
	n.Docker(t, "stop", "work")
}

// checkUninstalled checks that nothing of overlayzfs remains, and that everything of
// the newcomer's does.
func (n *newcomer) checkUninstalled(t *testing.T, _ string) {
	n.requireFormerContent(t, "overlay2")
	if err := compareLists(inguest.ListDatasets(t, "tank"), n.datasets); err != nil {
		t.Errorf("datasets and snapshots: %v", err)
	}
	if out := n.Docker(t, "plugin", "ls", "-q"); out != "" {
		t.Errorf("plugins are left: %s", out)
	}
	if out := run(t, "find", n.Root, "/usr/local", "/etc/docker", "-name", "*overlayzfs*"); out != "" {
		t.Errorf("files are left:\n%s", out)
	}
	config, err := os.ReadFile(newcomerConfig)
	must(t, err)
	if strings.Contains(string(config), "overlayzfs") {
		t.Errorf("daemon.json is\n%s", config)
	}
}
