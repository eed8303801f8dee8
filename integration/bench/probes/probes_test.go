package probes

import (
	"debug/elf"
	"os"
	"reflect"
	"testing"
	"time"
)

func TestCallsAreParsedFromTheTrace(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name, trace string
		want        []Call
	}{
		{"nothing", "# tracer: nop\n#\n", nil},
		{"one", `
 dockerd-1 [000] DNZff 10.000000: f0_in: (0x55) g=0xc1
 dockerd-2 [001] DNZff 10.002500: f0_out1: (0x56) g=0xc1
`, []Call{{"a", 10_000 * ms, 2500 * time.Microsecond}}},
		{"goroutines in turn", `
 x-1 [000] . 1.000000: f0_in: (0x55) g=0xc1
 x-1 [000] . 1.001000: f1_in: (0x55) g=0xc2
 x-1 [000] . 1.003000: f0_out0: (0x55) g=0xc1
 x-1 [000] . 1.006000: f1_out0: (0x55) g=0xc2
`, []Call{{"a", 1000 * ms, 3 * ms}, {"b", 1001 * ms, 5 * ms}}},
		{"one within another", `
 x-1 [000] . 1.000000: f0_in: (0x55) g=0xc1
 x-1 [000] . 1.001000: f1_in: (0x55) g=0xc1
 x-1 [000] . 1.002000: f1_out0: (0x55) g=0xc1
 x-1 [000] . 1.004000: f0_out0: (0x55) g=0xc1
`, []Call{{"a", 1000 * ms, 4 * ms}}},
		{"the stack grew", `
 x-1 [000] . 1.000000: f0_in: (0x55) g=0xc1
 x-1 [000] . 1.001000: f0_in: (0x55) g=0xc1
 x-1 [000] . 1.004000: f0_out0: (0x55) g=0xc1
 x-1 [000] . 1.005000: f0_in: (0x55) g=0xc1
 x-1 [000] . 1.006000: f0_out0: (0x55) g=0xc1
`, []Call{{"a", 1000 * ms, 4 * ms}, {"a", 1005 * ms, 1 * ms}}},
		{"a return without an entry", ` x-1 [000] . 1.000000: f0_out0: (0x55) g=0xc1`, nil},
		{"no function of ours", ` x-1 [000] . 1.000000: f9_in: (0x55) g=0xc1`, nil},
	} {
		if got := parseCalls(c.trace, []string{"a", "b"}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestParallelCallsCountOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		calls []Call
		want  time.Duration
	}{
		{"nothing", nil, 0},
		{"one after the other", []Call{{"b", 20, 5}, {"a", 10, 5}}, 10},
		{"at the same time", []Call{{"a", 10, 5}, {"b", 10, 7}}, 7},
		{"overlapping", []Call{{"a", 10, 5}, {"b", 12, 10}}, 12},
		{"one within another", []Call{{"a", 10, 9}, {"b", 12, 2}, {"c", 30, 1}}, 10},
	} {
		if got := BusyTime(c.calls); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestReturnsAreFound(t *testing.T) {
	for _, c := range []struct {
		name    string
		machine elf.Machine
		code    []byte
		want    []uint64
	}{
		// The byte of a return inside of another instruction does not count.
		{"amd64", elf.EM_X86_64, []byte{0x48, 0xc7, 0xc0, 0xc3, 0, 0, 0, 0xc3, 0x90, 0xc3, 0xcc}, []uint64{7, 9}},
		{"arm64", elf.EM_AARCH64, []byte{0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6}, []uint64{4}},
	} {
		got, err := findReturns(c.machine, c.code)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if _, err := findReturns(elf.EM_RISCV, nil); err == nil {
		t.Error("returns of a machine nobody knows")
	}
}

func TestFunctionsAreFoundInAProgram(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := openProgram(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	f, err := p.findFunction("github.com/overlayzfs/overlayzfs/integration/bench/probes.openProgram")
	if err != nil || f == nil || len(f.returns) == 0 || f.returns[0] <= f.entry {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := p.findFunction("main.nobody"); f != nil || err != nil {
		t.Errorf("%+v, %v", f, err)
	}
}
