//go:build !vm

// Not in the guest, which has no Go tool chain.

package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBinaryIsStaticAndCannotFork reads the linked program, as the plugin's test does.
func TestBinaryIsStaticAndCannotFork(t *testing.T) {
	program := filepath.Join(t.TempDir(), "overlayzfs")
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
	if err != nil || len(symbols) == 0 {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if strings.Contains(strings.ToLower(s.Name), "forkexec") || strings.Contains(s.Name, "forkAndExec") {
			t.Errorf("the program holds %s", s.Name)
		}
	}
}
