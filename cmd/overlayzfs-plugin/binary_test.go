package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBinaryIsStaticAndCannotFork reads the linked program: it has no interpreter to
// load, and no function that starts another process.
func TestBinaryIsStaticAndCannotFork(t *testing.T) {
	program := filepath.Join(t.TempDir(), "overlayzfs-plugin")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs an interpreter")
		}
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range symbols {
		found = found || s.Name == "main.main"
		if strings.Contains(strings.ToLower(s.Name), "forkexec") || strings.Contains(s.Name, "forkAndExec") {
			t.Errorf("the program holds %s", s.Name)
		}
	}
	if !found {
		t.Error("the program has no symbols, so that the test proves nothing")
	}
}

// TestModuleDoesNotRequireMoby: only integration tests may.
func TestModuleDoesNotRequireMoby(t *testing.T) {
	raw, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "github.com/docker/docker ") || strings.Contains(string(raw), "github.com/moby/moby") {
		t.Error("go.mod names moby")
	}
}
