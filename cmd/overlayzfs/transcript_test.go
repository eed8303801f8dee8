package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/cmd/overlayzfs/manual"
	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/operator/volumes"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// everyCommand returns all commands: hidden ones, those that cobra adds, and those that
// only Docker's command line calls.
func everyCommand(t *testing.T) (all []*cobra.Command) {
	t.Helper()
	docker := dockerCommand(testConsole(t, &bytes.Buffer{}))
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	for _, c := range docker.Commands() {
		if c.Name() == "overlayzfs" {
			docker.RemoveCommand(c) // it is a root of its own again
			c.InitDefaultHelpCmd()
			c.InitDefaultCompletionCmd()
		}
		walk(c)
	}
	return all
}

// transcriptName is the name of a command's transcripts: completion-bash for
// `overlayzfs completion bash`.
func transcriptName(c *cobra.Command) string {
	name := strings.TrimPrefix(fileName(c), "overlayzfs-")
	if name == "help" {
		return "help/overlayzfs" // it prints these, see TestHelpCommand
	}
	return name
}

// TestEveryCommandHasTranscript of its text, and of its JSON if it prints that. The name
// is the command's; a suffix after a hyphen says which case it shows.
func TestEveryCommandHasTranscript(t *testing.T) {
	for _, c := range everyCommand(t) {
		kinds := []string{"txt"}
		if c.Flags().Lookup("json") != nil {
			kinds = append(kinds, "json")
		}
		for _, kind := range kinds {
			var found []string
			for _, pattern := range []string{".", "-*."} {
				paths, err := filepath.Glob(filepath.Join("testdata", transcriptName(c)+pattern+kind))
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, paths...)
			}
			if len(found) == 0 {
				t.Errorf("`%s` has no transcript testdata/%s.%s", c.CommandPath(), transcriptName(c), kind)
			}
		}
	}
}

// TestHelpCommand prints the same as --help.
func TestHelpCommand(t *testing.T) {
	for _, c := range commands(rootCommand(testConsole(t, &bytes.Buffer{}))) {
		name := strings.Fields(c.CommandPath())[1:]
		if byCommand, byFlag := mustRun(t, append([]string{"help"}, name...)...), mustRun(t, append(name, "--help")...); byCommand != byFlag {
			t.Errorf("%s: help prints\n%s\n--help prints\n%s", c.CommandPath(), byCommand, byFlag)
		}
	}
}

// mustRun runs a command that succeeds without ZFS, and returns its output.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), args, testConsole(t, &out)); code != 0 {
		t.Fatalf("%q exits with %d: %s", args, code, &out)
	}
	return out.String()
}

// TestCommandsWithoutStore compares output that is the same on every host.
func TestCommandsWithoutStore(t *testing.T) {
	unversioned := func(text string) string {
		return strings.NewReplacer(buildinfo.Text(), "VERSION (commit COMMIT)", `"`+buildinfo.Version()+`"`, `"VERSION"`).Replace(text)
	}
	golden(t, "overlayzfs.txt", unversioned(mustRun(t, "--version")))
	golden(t, "version.txt", unversioned(mustRun(t, "version")))
	golden(t, "completion.txt", mustRun(t, "__complete", "r")+mustRun(t, "__complete", "rollback", "--a"))
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		script := strings.SplitAfterN(mustRun(t, "completion", shell), "\n", 4) // the rest is cobra's
		golden(t, "completion-"+shell+".txt", strings.Join(script[:3], ""))
	}
	var out bytes.Buffer
	c := testConsole(t, &out)
	if code := execute(t.Context(), dockerCommand(c), []string{"docker-cli-plugin-metadata"}, c); code != 0 {
		t.Fatal(out.String())
	}
	golden(t, "docker-docker-cli-plugin-metadata.txt", unversioned(out.String()))
}

// TestManualPages compares the list of manual pages, and one of them.
func TestManualPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1787565600")
	dir := t.TempDir()
	if err := manual.Write(rootCommand(testConsole(t, &bytes.Buffer{})), dir); err != nil {
		t.Fatal(err)
	}
	text := ""
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text += entry.Name() + "\n"
	}
	page, err := os.ReadFile(filepath.Join(dir, "overlayzfs-snapshots.8"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "man.txt", fmt.Sprintf("%s\n%s", text, page))
}

// makeRollbacks returns a plain plan, one that resumes a rollback and loses much, and one
// that is refused.
func makeRollbacks() []*snapshot.Plan {
	plain := snapshot.Plan{
		Layers: "tank/docker/layers", Name: "overlayzfs-stop-20260824T101500Z-1", Event: snapshot.Stop,
		Time: time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC), Records: "tank/docker",
		RollBack: []string{"tank/docker/layers", "tank/docker", "tank/docker/layers/ABCDEF"}, Kept: []string{"tank/docker/volumes"},
		Mounts: []snapshot.Mount{
			{Target: "/var/lib/docker", Source: "tank/docker", Type: "zfs", Root: "/", Options: "rw,relatime"},
			{Target: "/srv/site", Source: "tank/docker", Type: "zfs", Root: "/volumes/site/_data", Options: "rw,relatime"},
		},
	}
	losing, refused := plain, plain
	losing.Resumes = losing.Name
	losing.Newer, losing.Foreign = []string{"tank/docker@overlayzfs-daily-20260825T000000Z-2"}, []string{"tank/docker@mine"}
	losing.Bookmarks = []string{"tank/docker#zrepl_CURSOR"}
	losing.MadeSince, losing.Missing = []string{"tank/docker/layers/GHIJKL"}, []string{"tank/docker/layers/MNOPQR"}
	refused.Records, refused.RollBack, refused.Kept, refused.Mounts = "", refused.RollBack[:1], nil, nil
	refused.Obstacles = []string{"tank/docker/layers is mounted on /var/lib/docker/plugins/0a1b/propagated-mount/overlayzfs: stop dockerd"}
	return []*snapshot.Plan{&plain, &losing, &refused}
}

func TestShowRollback(t *testing.T) {
	for kind, f := range map[string]rollbackFlags{"txt": {}, "json": {output: output{json: true}}} {
		var out bytes.Buffer
		for _, plan := range makeRollbacks() {
			if err := f.show(console{out: &out}, rollbackReport{plan, volumes.Volumes{Back: []string{"site"}, Stay: []string{"db", "mail"}}}); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, "rollback."+kind, out.String())
	}
}

func TestReportSnapshot(t *testing.T) {
	const name = "overlayzfs-manual-20260824T101500Z-1"
	all := []snapshotReport{
		{Name: name, Dataset: "tank/docker/layers", Records: "tank/docker"}, {Name: name, Dataset: "tank/docker"},
		{Dataset: "tank/docker/layers", Records: "tank/docker", DryRun: true}, {Dataset: "tank/docker", DryRun: true},
	}
	for kind, f := range map[string]snapshotFlags{"txt": {}, "json": {output: output{json: true}}} {
		var out bytes.Buffer
		for _, one := range all {
			if err := f.report(console{out: &out, err: &out}, one); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, "snapshot."+kind, out.String())
	}
}

// TestReportMigration: each action says what to do next.
func TestReportMigration(t *testing.T) {
	var out bytes.Buffer
	for _, f := range []migrateFlags{{}, {undo: true}, {finish: true}} {
		if err := f.report(console{out: &out}, aPlan(migrate.Copy)); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "migrate-done.txt", out.String())
}
