//go:build vm

package probes

import (
	"os"
	"strings"
	"testing"
)

//go:noinline
func outer(n int) int {
	if n == 0 {
		return inner(0)
	}
	return inner(n) + 1
}

//go:noinline
func inner(n int) int { return n }

// TestCallsOfARunningProgramAreSeen probes this test program.
func TestCallsOfARunningProgramAreSeen(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const pkg = "github.com/overlayzfs/overlayzfs/integration/bench/probes."
	tracer, err := New(path, "race_test", []string{pkg + "outer", pkg + "inner", pkg + "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	outer(0) // before Start
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	outer(0)
	done := make(chan int)
	go func() { done <- outer(1) }()
	<-done
	inner(0)
	calls, err := tracer.Stop()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range calls {
		names = append(names, strings.TrimPrefix(c.Function, pkg))
	}
	if got, want := strings.Join(names, " "), "outer outer inner"; got != want {
		t.Errorf("seen were %q, want %q", got, want)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}
