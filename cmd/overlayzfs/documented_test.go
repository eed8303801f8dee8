//go:build !vm

// The guest has neither documentation nor sources.

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/tomledit"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

var (
	shellBlock = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```")
	codeSpan   = regexp.MustCompile("`(?:docker )?overlayzfs ([^`]+)`")
	flagSpan   = regexp.MustCompile("`(--[a-z-]+)[^`]*`")
)

// listFiles returns the source files with these extensions, without build results and
// the integration module.
func listFiles(t *testing.T, endings ...string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if name := entry.Name(); err == nil && entry.IsDir() && (name == "build" || name == "integration" || name == ".git") {
			return filepath.SkipDir
		}
		if slices.Contains(endings, filepath.Ext(path)) && !strings.HasSuffix(path, "_test.go") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestCommandsInBlocksParse gives each command line of a document to the command, which
// has to accept its flags and arguments.
func TestCommandsInBlocksParse(t *testing.T) {
	seen := map[string]int{}
	for _, path := range listFiles(t, ".md") {
		for _, block := range shellBlock.FindAllStringSubmatch(read(t, path), -1) {
			for _, words := range shellCommands(block[1]) {
				seen[filepath.Base(path)] += follow(t, path, words)
			}
		}
	}
	for _, command := range commands(rootCommand(testConsole(t, &bytes.Buffer{}))) {
		for _, words := range shellCommands(command.Example) {
			seen["--help"] += follow(t, command.CommandPath(), words)
		}
	}
	for document, least := range map[string]int{"quickstart-plugin.md": 12, "quickstart-snapshotter.md": 3, "configure.md": 2, "snapshots.md": 3, "transfer.md": 3, "migration.md": 2, "backup.md": 2, "--help": 20} {
		if seen[document] < least {
			t.Errorf("%d commands of overlayzfs were read in %s", seen[document], document)
		}
	}
}

// follow checks a command line that is ours or prepares for ours, and returns 1 for ours.
func follow(t *testing.T, where string, words []string) (ours int) {
	t.Helper()
	var err error
	args, ok := ourArgs(words)
	switch {
	case ok:
		ours, err = 1, checkArgsFit(t, args)
	case slices.Contains(words, "mountpoint=legacy") && words[1] == "create":
		err = checkProperties(words)
	case words[0] == "overlayzfs-snapshotter":
		err = checkSnapshotterFlags(t, words[1:])
	case len(words) > 4 && slices.Equal(words[:4], []string{"docker", "plugin", "set", "overlayzfs"}):
		err = checkSettings(t, words[4:])
	}
	if err != nil {
		t.Errorf("%s: %q: %v", where, words, err)
	}
	return ours
}

// ourArgs returns the arguments of a call of overlayzfs, under any of its names, here or
// by ssh.
func ourArgs(words []string) ([]string, bool) {
	if len(words) > 2 && words[0] == "ssh" {
		words = words[2:]
	}
	if len(words) > 1 && words[0] == "docker" {
		words = words[1:]
	}
	if len(words) == 0 || words[0] != "overlayzfs" && words[0] != "build/overlayzfs" {
		return nil, false
	}
	return words[1:], true
}

// wholeTree is the command tree with the commands that cobra adds.
func wholeTree(t *testing.T) *cobra.Command {
	t.Helper()
	root := rootCommand(testConsole(t, &bytes.Buffer{}))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.InitDefaultVersionFlag()
	return root
}

// checkArgsFit parses and checks arguments without running the command.
func checkArgsFit(t *testing.T, args []string) error {
	t.Helper()
	command, rest, err := wholeTree(t).Find(args)
	if err != nil {
		return err
	}
	command.InitDefaultHelpFlag()
	if err := command.ParseFlags(rest); err != nil {
		return err
	}
	rest = command.Flags().Args()
	return errors.Join(command.ValidateArgs(rest), command.ValidateFlagGroups(), refuseIgnored(command, rest))
}

// checkProperties checks that `zfs create` for layers sets the properties that the doctor
// advises. The advised recordsize is ZFS's default.
func checkProperties(words []string) (err error) {
	for _, s := range doctor.AdvisedProperties() {
		if property := s.Property + "=" + s.Advised; s.Property != "recordsize" && !slices.Contains(words, property) {
			err = errors.Join(err, fmt.Errorf("it lacks %s", property))
		}
	}
	return err
}

// checkSnapshotterFlags looks for the flags in the snapshotter's manual page, which the
// snapshotter's own test compares with --help.
func checkSnapshotterFlags(t *testing.T, args []string) (err error) {
	t.Helper()
	page := strings.ReplaceAll(read(t, "../../dist/man/overlayzfs-snapshotter.8"), `\-`, "-")
	for _, arg := range args {
		if name, _, _ := strings.Cut(arg, "="); strings.HasPrefix(arg, "--") && !strings.Contains(page, name) {
			err = errors.Join(err, fmt.Errorf("the snapshotter has no flag %s", name))
		}
	}
	return err
}

// checkSettings checks that the plugin has these settings and accepts these options.
func checkSettings(t *testing.T, settings []string) (err error) {
	t.Helper()
	var manifest struct{ Env []struct{ Name string } }
	if err := json.Unmarshal([]byte(read(t, "../../config.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		if !slices.ContainsFunc(manifest.Env, func(env struct{ Name string }) bool { return env.Name == name }) {
			err = errors.Join(err, fmt.Errorf("config.json has no setting %s", name))
		}
		if name == "OVERLAYZFS_OPTS" {
			_, wrong := overlayzfs.ParseOptions(overlayzfs.SplitOptions(value))
			err = errors.Join(err, wrong)
		}
	}
	return err
}

// TestNamedCommandsExist checks commands in the prose of documents, in alert rules and in
// the texts of programs. These may leave out arguments, and the last flag's value.
func TestNamedCommandsExist(t *testing.T) {
	named := 0
	for _, path := range listFiles(t, ".md", ".yml", ".toml", ".json", ".go") {
		for _, span := range codeSpan.FindAllStringSubmatch(read(t, path), -1) {
			named++
			if err := checkExists(t, strings.Fields(span[1])); err != nil {
				t.Errorf("%s: %s: %v", path, span[0], err)
			}
		}
	}
	if named < 80 {
		t.Errorf("%d were read", named)
	}
}

// foreignFlags are flags of other programs that documents name without a command.
var foreignFlags = []string{"--storage-opt", "--snapshotter"}

// TestNamedFlagsExist checks flags that stand in prose without their command.
func TestNamedFlagsExist(t *testing.T) {
	known := map[string]bool{}
	for _, command := range everyCommand(t) {
		for _, flags := range []*pflag.FlagSet{command.Flags(), command.PersistentFlags()} {
			flags.VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		}
	}
	for _, path := range listFiles(t, ".md") {
		for _, span := range flagSpan.FindAllStringSubmatch(read(t, path), -1) {
			if name := span[1]; !known[name] && !slices.Contains(foreignFlags, name) && checkSnapshotterFlags(t, span[1:2]) != nil && strings.Contains(path, "docs/") {
				t.Errorf("%s: nothing has %s", path, name)
			}
		}
	}
}

// checkExists fails if a command or a flag does not exist. COMMAND and … stand for any
// command.
func checkExists(t *testing.T, words []string) error {
	t.Helper()
	if words[0] == "COMMAND" || words[0] == "…" {
		words = append([]string{"ls"}, words[1:]...)
	}
	command, rest, err := wholeTree(t).Find(words)
	if err != nil {
		return err
	}
	command.InitDefaultHelpFlag()
	if !command.HasParent() && !strings.HasPrefix(words[0], "--") {
		return fmt.Errorf("there is no command %s", words[0])
	}
	for _, word := range rest {
		name, long := strings.CutPrefix(word, "--")
		if name, _, _ = strings.Cut(name, "="); long && command.Flag(name) == nil {
			err = errors.Join(err, fmt.Errorf("%s has no flag --%s", command.CommandPath(), name))
		}
	}
	return err
}

// TestTheQuickStartFitsWhatIsInstalled: the line that setup edits, and the file that the page
// shows.
func TestTheQuickStartFitsWhatIsInstalled(t *testing.T) {
	page := read(t, "../../docs/quickstart-snapshotter.md")
	file := read(t, "../../dist/overlayzfs/snapshotter.toml")
	edited, err := tomledit.SetString([]byte(file), "store", "dataset", "tank/layers")
	if want := strings.Replace(file, "\ndataset = \"\"\n", "\ndataset = \"tank/layers\"\n", 1); err != nil || string(edited) != want || want == file {
		t.Errorf("setup makes of snapshotter.toml: %v\n%s", err, edited)
	}
	merged := regexp.MustCompile(`\{"features".*\}`).FindString(page)
	var shown, installed any
	if err := errors.Join(json.Unmarshal([]byte(merged), &shown), json.Unmarshal([]byte(read(t, "../../dist/docker/daemon.json")), &installed)); err != nil || !reflect.DeepEqual(shown, installed) {
		t.Errorf("daemon.json is %v, and the page shows %v, %v", installed, shown, err)
	}
}

// TestChecksFail for wrong commands: the tests above would pass if they checked nothing.
func TestChecksFail(t *testing.T) {
	for args, says := range map[string]string{
		"polish": "polish", "ls --shiny": "shiny", "rollback": "arg", "rollback a b": "arg", "migrate --undo --reclaim": "means nothing", "send --from": "needs an argument",
	} {
		if err := checkArgsFit(t, strings.Fields(args)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
	for _, args := range []string{"polish", "ls --shiny", "rollback NAME --x=y"} {
		if checkExists(t, strings.Fields(args)) == nil {
			t.Errorf("%s is said to exist", args)
		}
	}
	for _, settings := range []string{"OVERLAYZFS_SHINE=1", "OVERLAYZFS_OPTS=overlayzfs.shine=1"} {
		if checkSettings(t, []string{settings}) == nil {
			t.Errorf("%s is said to exist", settings)
		}
	}
}
