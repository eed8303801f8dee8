//go:build vm

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// looks are what a newcomer is told to see, by the names that newcomersWay has.
// Each gets what the command before it printed.
func (n *newcomer) looks() map[string]func(t *testing.T, out string) {
	on := func(driver string) func(*testing.T, string) {
		return func(t *testing.T, _ string) { n.hasTheFormer(t, driver) }
	}
	return map[string]func(*testing.T, string){
		"the driver":                      n.seesTheDriver,
		"an image":                        n.seesAnImage,
		"its file":                        prints("^hello$"),
		"the limit":                       prints(`\b100(\.0)?M\b`),
		"a name":                          n.seesAName,
		"the snapshot":                    func(t *testing.T, out string) { prints(regexp.QuoteMeta(n.snapshot))(t, out) },
		"no image":                        n.seesNoImage,
		"the same image":                  n.seesTheSameImage,
		"the plan":                        n.seesThePlan,
		"the former names":                n.seesTheFormerNames,
		"the former images on the plugin": on(engine.PluginName),
		"the former images on overlay2":   on("overlay2"),
		"nothing of ours":                 n.seesNothingOfOurs,
	}
}

// prints looks for a pattern.
func prints(pattern string) func(*testing.T, string) {
	return func(t *testing.T, out string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("it prints no %s:\n%s", pattern, out)
		}
	}
}

// seesTheDriver, and nothing of the former, which is not migrated yet at this step.
func (n *newcomer) seesTheDriver(t *testing.T, out string) {
	for _, line := range []string{"Storage Driver: overlayzfs", "Backing Filesystem: zfs", "Dataset: " + newcomersLayers, "Sync: disabled"} {
		if !strings.Contains(out, line) {
			t.Errorf("docker info has no %q", line)
		}
	}
	if has := n.Docker(t, "images", "-q") + n.Docker(t, "ps", "-aq"); has != "" {
		t.Errorf("there are %s", has)
	}
}

func (n *newcomer) seesAnImage(t *testing.T, _ string) {
	n.image = n.Docker(t, "image", "inspect", "-f", "{{.Id}}", "hello")
}

// seesAName is the step that a later one needs the output of.
func (n *newcomer) seesAName(t *testing.T, out string) {
	prints("^overlayzfs-[^ \n]+$")(t, out)
	n.snapshot = out
}

func (n *newcomer) seesNoImage(t *testing.T, _ string) {
	if out, err := n.Try("image", "inspect", "hello"); err == nil {
		t.Errorf("the image is still there: %s", out)
	}
}

// seesTheSameImage, and the container as it was.
func (n *newcomer) seesTheSameImage(t *testing.T, out string) {
	if lineWith(out, "small", "hello") == "" {
		t.Errorf("the container is not back:\n%s", out)
	}
	if id := n.Docker(t, "image", "inspect", "-f", "{{.Id}}", "hello"); id != n.image {
		t.Errorf("the image is %s, and was %s", id, n.image)
	}
	n.Docker(t, "start", "small")
	prints("^hello$")(t, n.Docker(t, "exec", "small", "sh", "-c", "test -s /big && cat /greeting"))
}

// seesThePlan, while the engine is stopped. Whoever only tried the plugin would
// leave now: without a word of it in daemon.json the former driver is back.
func (n *newcomer) seesThePlan(t *testing.T, out string) {
	prints("2 images and 1 container of the driver overlay2")(t, out)
	config, err := os.ReadFile(newcomersConfig)
	must(t, err)
	must(t, os.WriteFile(newcomersConfig, []byte(`{"experimental": true}`), 0o644))
	n.Again(t)
	n.hasTheFormer(t, "overlay2")
	n.stops(t)
	must(t, os.WriteFile(newcomersConfig, config, 0o644))
}

func (n *newcomer) seesTheFormerNames(t *testing.T, out string) {
	for _, name := range []string{"tiny:latest", "mine:latest", "work"} {
		if !strings.Contains(out, name) {
			t.Errorf("it does not name %s:\n%s", name, out)
		}
	}
}

// hasTheFormer images and containers, which work.
func (n *newcomer) hasTheFormer(t *testing.T, driver string) {
	t.Helper()
	n.uses(t, driver)
	unchangedBy(t, "on "+driver, n.has(t), n.former)
	if out := runTiny(t, n.Engine, "mine", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	n.Docker(t, "start", "work")
	intact(t, n.Engine, "work")
	n.Docker(t, "stop", "work")
}

// seesNothingOfOurs, and all that is the newcomer's.
func (n *newcomer) seesNothingOfOurs(t *testing.T, _ string) {
	n.hasTheFormer(t, "overlay2")
	if err := differ(datasetsBelow(t, "tank"), n.datasets); err != nil {
		t.Errorf("datasets and snapshots: %v", err)
	}
	if out := n.Docker(t, "plugin", "ls", "-q"); out != "" {
		t.Errorf("plugins are left: %s", out)
	}
	if out := run(t, "find", n.Root, "/usr/local", "/etc/docker", "-name", "*overlayzfs*"); out != "" {
		t.Errorf("files are left:\n%s", out)
	}
	config, err := os.ReadFile(newcomersConfig)
	must(t, err)
	if strings.Contains(string(config), "overlayzfs") {
		t.Errorf("daemon.json is\n%s", config)
	}
}
