package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/snapshot"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts in testdata")

// TestMain sets the time zone. After a run of all tests it fails for a transcript that no
// test has compared.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	flag.Parse()
	code := m.Run()
	if code == 0 && allTests() {
		code = requireCompared()
	}
	os.Exit(code)
}

func allTests() bool {
	value := func(name string) string { return flag.Lookup("test." + name).Value.String() }
	return (value("run") == "" || value("run") == ".") && value("skip") == "" && value("list") == ""
}

// compared are the transcripts that tests have compared.
var compared = map[string]bool{}

func requireCompared() (code int) {
	err := fs.WalkDir(os.DirFS("testdata"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !compared[name] {
			fmt.Fprintf(os.Stderr, "testdata/%s is compared by no test\n", name)
			code = 1
		}
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// golden compares a transcript with testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	compared[name] = true
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s, - wanted, + got (`make golden` rewrites it):\n%s", path, diff)
	}
}

// commands returns the commands that help shows, c first.
func commands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, commands(sub)...)
		}
	}
	return all
}

func fileName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// TestHelp compares the help of every command, which has to have examples.
func TestHelp(t *testing.T) {
	for _, command := range commands(rootCommand(testConsole(t, &bytes.Buffer{}))) {
		args := append(strings.Fields(command.CommandPath())[1:], "--help")
		var out bytes.Buffer
		if code := run(t.Context(), args, testConsole(t, &out)); code != 0 {
			t.Errorf("%v exits with %d", args, code)
		}
		golden(t, "help/"+fileName(command)+".txt", out.String())
		if command.HasParent() && command.Parent().Name() != "completion" && command.Name() != "completion" && command.Example == "" {
			t.Errorf("%s has no example", command.CommandPath())
		}
	}
}

// makeSnapshots returns two snapshots.
func makeSnapshots() []snapshot.Info {
	at := time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC)
	return []snapshot.Info{
		{
			Name: "overlayzfs-stop-20260824T101500Z-1", Event: snapshot.Stop, Time: at, CreateTXG: 4711, Scope: snapshot.ScopeRecords, Records: "tank",
			Datasets: []string{"tank/a", "tank"}, Used: 3 << 20, Clones: 2, Holds: []snapshot.Hold{{Dataset: "tank", Tag: "backup"}},
		},
		{Name: "overlayzfs-daily-20260825T000000Z-2", Event: snapshot.Daily, Time: at.Add(14 * time.Hour), CreateTXG: 5000, Scope: snapshot.ScopeLayers, Datasets: []string{"tank/a"}},
	}
}

func TestWriteDestroyedSnapshots(t *testing.T) {
	for file, f := range map[string]destroyFlags{"snapshots-destroy.txt": {}, "snapshots-destroy.json": {output: output{json: true}}} {
		var out bytes.Buffer
		if err := errors.Join(f.writeChosen(&out, makeSnapshots()[1:]), f.writeDestroyed(&out, makeSnapshots()[1:])); err != nil {
			t.Fatal(err)
		}
		golden(t, file, out.String())
	}
}

func TestWriteSnapshots(t *testing.T) {
	for name, infos := range map[string][]snapshot.Info{"snapshots": makeSnapshots(), "snapshots-none": nil} {
		var out bytes.Buffer
		if err := writeSnapshots(&out, infos, tableFlags{}); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", out.String())
		out.Reset()
		if err := writeSnapshots(&out, infos, tableFlags{noHeader: true, exact: true}); err != nil {
			t.Fatal(err)
		}
		golden(t, name+"-script.txt", out.String())
		out.Reset()
		if err := writeJSON(&out, nonNil(infos)); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", out.String())
	}
}
