//go:build !vm

// The guest has no documentation.

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/cmd/overlayzfs/manual"
)

// TestPagesAndDocsMatchHelp looks for every command and flag of --help in the manual
// pages, and for every command and exit code in docs/operations.md.
func TestPagesAndDocsMatchHelp(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := manual.Write(rootCommand(testConsole(t, &out)), dir); err != nil {
		t.Fatal(err)
	}
	docs := read(t, "../../docs/operations.md")
	for _, command := range commands(rootCommand(testConsole(t, &out))) {
		page := read(t, filepath.Join(dir, fileName(command)+".8"))
		for _, flag := range strings.Fields(command.LocalFlags().FlagUsages() + command.InheritedFlags().FlagUsages()) {
			if name, ok := strings.CutPrefix(flag, "--"); ok && !strings.Contains(strings.ReplaceAll(page, `\`, ""), "--"+name) {
				t.Errorf("the manual page of %s lacks --%s", command.CommandPath(), name)
			}
		}
	}
	for _, command := range everyCommand(t) {
		if command.Parent() != nil && command.Parent().HasParent() || command.Name() == "help" || command.Root().Name() == "docker" {
			continue // of completion: a shell each; and what nobody types
		}
		if !strings.Contains(docs, "`"+command.CommandPath()) {
			t.Errorf("docs/operations.md does not mention `%s`", command.CommandPath())
		}
	}
	for _, exit := range exits {
		if !strings.Contains(docs, exit.text) {
			t.Errorf("docs/operations.md does not say of exit code %d: %s", exit.code, exit.text)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
