//go:build vm

package deb

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

var must, run = inguest.Must, inguest.Run

const (
	config  = "/etc/overlayzfs/snapshotter.toml"
	unit    = "/usr/lib/systemd/system/overlayzfs-snapshotter.service"
	dataset = "tank/packaged"
)

// packageFile returns the path of the tested package.
func packageFile(t *testing.T) string {
	t.Helper()
	path := os.Getenv("OVERLAYZFS_DEB")
	if path == "" {
		t.Fatal("OVERLAYZFS_DEB is not set")
	}
	return path
}

// install has dpkg install all of the package. The guest's dpkg is configured to omit
// documentation.
func install(t *testing.T) {
	t.Helper()
	run(t, "dpkg", "--path-include=/usr/share/doc/overlayzfs*", "--path-include=/usr/share/man/man8*", "-i", packageFile(t))
}

// TestThePackage installs, uses, upgrades, removes and purges the package. Its parts
// depend on their order.
func TestThePackage(t *testing.T) {
	before := listPaths(t)
	install(t)
	t.Run("SaysWhatItIs", saysWhatItIs)
	t.Run("HasHelp", hasHelp)
	t.Run("IsAPluginOfDocker", isAPluginOfDocker)
	t.Run("TheServiceRuns", theServiceRuns)
	t.Run("TheManagedPluginRuns", theManagedPluginRuns)
	t.Run("SetupPutsDockerOnThePlugin", setupPutsDockerOnThePlugin)
	t.Run("AnUpgradeKeepsTheConfiguration", anUpgradeKeepsTheConfiguration)

	files := listPackagePaths(t)
	if here := listRemains(t, before, files); len(here) < 50 {
		t.Errorf("the package has the files %q: too few to prove anything", here)
	}
	run(t, "dpkg", "-r", "overlayzfs")
	if still := listRemains(t, before, files); !slices.Equal(still, []string{"/etc/overlayzfs", config}) {
		t.Errorf("after the removal there are still %q", still)
	}
	run(t, "dpkg", "-P", "overlayzfs")
	if still := listRemains(t, before, files); len(still) > 0 {
		t.Errorf("after the purge there are still %q", still)
	}
	if out, err := exec.Command("dpkg", "-s", "overlayzfs").CombinedOutput(); err == nil {
		t.Errorf("dpkg still knows it:\n%s", out)
	}
}

// readVersion returns the package's version and commit from its description: "Version
// V, commit C."
func readVersion(t *testing.T) (version, commit string) {
	t.Helper()
	for line := range strings.Lines(run(t, "dpkg-query", "-W", "-f", "${Description}\n", "overlayzfs")) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "Version ")
		if !ok {
			continue
		}
		version, commit, ok = strings.Cut(strings.TrimSuffix(rest, "."), ", commit ")
		if ok && len(commit) >= 12 {
			return version, commit
		}
	}
	t.Fatal("the package does not say its version and commit")
	return "", ""
}

func versionText(t *testing.T) string {
	v, c := readVersion(t)
	return v + " (commit " + c[:12] + ")"
}

func saysWhatItIs(t *testing.T) {
	requireContains(t, "overlayzfs --version", run(t, "overlayzfs", "--version"), versionText(t))
	requireContains(t, "the snapshotter's --version", run(t, "overlayzfs-snapshotter", "--version"), versionText(t))
	if out := run(t, "dpkg", "--verify", "overlayzfs"); out != "" {
		t.Errorf("files differ from the package:\n%s", out)
	}
	requireContains(t, "licences", run(t, "gzip", "-dc", "/usr/share/doc/overlayzfs/licenses.txt.gz"), "github.com/spf13/cobra")
	requireContains(t, "the copyright file", run(t, "cat", "/usr/share/doc/overlayzfs/copyright"), "Apache License")
}

func hasHelp(t *testing.T) {
	for _, page := range []string{"overlayzfs", "overlayzfs-doctor", "overlayzfs-rollback", "overlayzfs-snapshotter"} {
		text := strings.ReplaceAll(run(t, "gzip", "-dc", "/usr/share/man/man8/"+page+".8.gz"), `"`, "")
		requireContains(t, page+"(8)", text, ".TH "+strings.ToUpper(page)+" 8")
	}
	out := run(t, "bash", "-c", ". /usr/share/bash-completion/completions/overlayzfs && complete -p overlayzfs")
	requireContains(t, "bash", out, "__start_overlayzfs")
	requireContains(t, "what a completion asks", run(t, "overlayzfs", "__complete", "doc"), "doctor")
	for _, path := range []string{"/usr/share/zsh/vendor-completions/_overlayzfs", "/usr/share/fish/vendor_completions.d/overlayzfs.fish"} {
		requireContains(t, path, run(t, "cat", path), "__complete")
	}
}

func isAPluginOfDocker(t *testing.T) {
	requireContains(t, "docker --help", run(t, "docker", "--help"), "overlayzfs*")
	requireContains(t, "docker overlayzfs --help", run(t, "docker", "overlayzfs", "--help"), "docker overlayzfs [command]")
}

// theServiceRuns starts the unit's program with the installed configuration, in which
// only the dataset has to be named.
func theServiceRuns(t *testing.T) {
	engine.CreateDataset(t, dataset)
	run(t, "sed", "-i", `s#^dataset = ""#dataset = "`+dataset+`"#; s#^metrics = ""#metrics = "unix:/run/overlayzfs/metrics.sock"#`, config)
	s := startService(t)
	inguest.WaitFor(t, s.checkStoreOpen)
	requireContains(t, "a scrape", scrapeMetrics(t, "/run/overlayzfs/metrics.sock"), `overlayzfs_store_info{dataset="`+dataset+`",pool="tank"} 1`)
	s.stop(t)
	run(t, "umount", "/var/lib/overlayzfs-snapshotter")
}

func anUpgradeKeepsTheConfiguration(t *testing.T) {
	install(t)
	requireContains(t, config, run(t, "cat", config), `dataset = "`+dataset+`"`)
}

// theManagedPluginRuns creates the managed plugin from the package's files.
func theManagedPluginRuns(t *testing.T) {
	t.Setenv("OVERLAYZFS_PLUGIN_DIR", "/usr/share/overlayzfs/plugin")
	root := inguest.MakeDiskDir(t)
	e := engine.StartOnPlugin(t, engine.Options{Root: filepath.Join(root, "docker")}, "tank/managed")
	requireContains(t, "docker info", e.Docker(t, "info"), "Driver Version: "+versionText(t))
	requireContains(t, "plugins of docker's command line", e.Docker(t, "info", "--format", "{{json .ClientInfo.Plugins}}"), "/usr/libexec/docker/cli-plugins/docker-overlayzfs")
	v, c := readVersion(t)
	requireContains(t, "docker plugin inspect", e.Docker(t, "plugin", "inspect", engine.PluginName), "("+v+", commit "+c[:12]+")")

	e.Docker(t, "plugin", "disable", "-f", engine.PluginName)
	e.Docker(t, "plugin", "set", engine.PluginName, "OVERLAYZFS_METRICS=unix:/run/docker/plugins/metrics.sock")
	e.Docker(t, "plugin", "enable", engine.PluginName)
	e.Docker(t, "info") // calls the plugin's status
	id := e.Docker(t, "plugin", "inspect", "-f", "{{.Id}}", engine.PluginName)
	socket := "/run/docker/plugins/" + id + "/metrics.sock"
	// The plugin counts a call after it has answered.
	inguest.WaitFor(t, func() error {
		const count = `overlayzfs_operation_duration_seconds_count{operation="status"}`
		page, err := fetchPage(socket)
		if err == nil && !strings.Contains(page, count) {
			err = fmt.Errorf("a scrape has no %q:\n%s", count, page)
		}
		return err
	})
	page := scrapeMetrics(t, socket)
	requireContains(t, "a scrape", page, `overlayzfs_store_up 1`)
	requireContains(t, "a scrape", page, `overlayzfs_build_info{commit="`+c+`"`)
	requireContains(t, "a scrape", page, `version="`+v+`"`)
	e.Stop(t)
}
