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
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// everyCommand is the tree as a person meets it, with what is hidden and what cobra
// adds by itself, and what only Docker's command line calls.
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

// transcriptOf is how the transcripts of a command are called: completion-bash of
// `overlayzfs completion bash`.
func transcriptOf(c *cobra.Command) string {
	name := strings.TrimPrefix(fileName(c), "overlayzfs-")
	if name == "help" {
		return "help/overlayzfs" // what it prints are the helps: TestTheHelpCommand
	}
	return name
}

// TestEveryCommandHasATranscript of its text, and of its JSON where it prints that. A
// transcript is called by its command; what follows a hyphen says what it is of.
func TestEveryCommandHasATranscript(t *testing.T) {
	for _, c := range everyCommand(t) {
		kinds := []string{"txt"}
		if c.Flags().Lookup("json") != nil {
			kinds = append(kinds, "json")
		}
		for _, kind := range kinds {
			var found []string
			for _, pattern := range []string{".", "-*."} {
				paths, err := filepath.Glob(filepath.Join("testdata", transcriptOf(c)+pattern+kind))
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, paths...)
			}
			if len(found) == 0 {
				t.Errorf("`%s` has no transcript testdata/%s.%s", c.CommandPath(), transcriptOf(c), kind)
			}
		}
	}
}

// TestTheHelpCommand prints what --help does.
func TestTheHelpCommand(t *testing.T) {
	for _, c := range commands(rootCommand(testConsole(t, &bytes.Buffer{}))) {
		name := strings.Fields(c.CommandPath())[1:]
		if byCommand, byFlag := printed(t, append([]string{"help"}, name...)...), printed(t, append(name, "--help")...); byCommand != byFlag {
			t.Errorf("%s: help prints\n%s\n--help prints\n%s", c.CommandPath(), byCommand, byFlag)
		}
	}
}

// printed is what a command prints that goes well and needs no ZFS.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), args, testConsole(t, &out)); code != 0 {
		t.Fatalf("%q exits with %d: %s", args, code, &out)
	}
	return out.String()
}

// TestWhatNeedsNoStore keeps what is the same on every host.
func TestWhatNeedsNoStore(t *testing.T) {
	unversioned := func(text string) string {
		return strings.NewReplacer(buildinfo.Text(), "VERSION (commit COMMIT)", `"`+buildinfo.Version()+`"`, `"VERSION"`).Replace(text)
	}
	golden(t, "overlayzfs.txt", unversioned(printed(t, "--version")))
	golden(t, "version.txt", unversioned(printed(t, "version")))
	golden(t, "completion.txt", printed(t, "__complete", "r")+printed(t, "__complete", "rollback", "--a"))
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		script := strings.SplitAfterN(printed(t, "completion", shell), "\n", 4) // the rest is cobra's
		golden(t, "completion-"+shell+".txt", strings.Join(script[:3], ""))
	}
	var out bytes.Buffer
	c := testConsole(t, &out)
	if code := execute(t.Context(), dockerCommand(c), []string{"docker-cli-plugin-metadata"}, c); code != 0 {
		t.Fatal(out.String())
	}
	golden(t, "docker-docker-cli-plugin-metadata.txt", unversioned(out.String()))
}

// TestPagesAreWritten keeps their list, and one of them.
func TestPagesAreWritten(t *testing.T) {
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

// someRollbacks are one as it should be, one that resumes another and loses much, and
// one that is refused.
func someRollbacks() []*snapshot.Plan {
	plain := snapshot.Plan{
		Layers: "tank/docker/layers", Name: "overlayzfs-stop-20260824T101500Z-1", Event: snapshot.Stop,
		Time: time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC), Records: "tank/docker",
		Back: []string{"tank/docker/layers", "tank/docker", "tank/docker/layers/ABCDEF"},
	}
	losing, refused := plain, plain
	losing.Resumes = losing.Name
	losing.Newer, losing.Foreign = []string{"tank/docker@overlayzfs-daily-20260825T000000Z-2"}, []string{"tank/docker@mine"}
	losing.Later, losing.Missing = []string{"tank/docker/layers/GHIJKL"}, []string{"tank/docker/layers/MNOPQR"}
	refused.Records, refused.Back = "", refused.Back[:1]
	refused.Obstacle = []string{"tank/docker/layers is mounted on /var/lib/docker/plugins/0a1b/propagated-mount/overlayzfs: stop dockerd"}
	return []*snapshot.Plan{&plain, &losing, &refused}
}

func TestRollbacksAreShown(t *testing.T) {
	for kind, f := range map[string]rollbackFlags{"txt": {}, "json": {output: output{json: true}}} {
		var out bytes.Buffer
		for _, plan := range someRollbacks() {
			if err := f.show(console{out: &out}, plan); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, "rollback."+kind, out.String())
	}
}

func TestASnapshotIsReported(t *testing.T) {
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

// TestHowMigrationsEnd: each way of it says what comes next.
func TestHowMigrationsEnd(t *testing.T) {
	var out bytes.Buffer
	for _, f := range []migrateFlags{{}, {undo: true}, {finish: true}} {
		if err := f.report(console{out: &out}, aPlan(migrate.Copy)); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "migrate-done.txt", out.String())
}
