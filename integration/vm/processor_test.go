package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAProcessorHasOneHolder(t *testing.T) {
	t.Setenv(ProcessorsVariable, "")
	// Machines of the lab may run beside this test.
	before := claimName
	claimName = fmt.Sprintf("@overlayzfs-test-%d-%%d", os.Getpid())
	defer func() { claimName = before }()
	all, err := allowedProcessors()
	if err != nil {
		t.Fatal(err)
	}
	held, err := ClaimProcessors(t.Context(), len(all), nil)
	if err != nil {
		t.Fatal(err)
	}
	waited := false
	short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelShort()
	if _, err := ClaimProcessors(short, 1, func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) || !waited {
		t.Errorf("a processor that is held: %v, waited %t", err, waited)
	}
	// A child gets what its parent holds.
	t.Setenv(ProcessorsVariable, held.String())
	child, err := ClaimProcessors(t.Context(), 1, nil)
	if err != nil || len(child.numbers) != 1 || child.numbers[0] != held.numbers[0] {
		t.Errorf("inherited: %v, %v", child, err)
	}
	// A waiter goes on when the holder ends.
	t.Setenv(ProcessorsVariable, "")
	again, err := ClaimProcessors(t.Context(), len(all), held.Release)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

func TestRunPinsWhatItStarts(t *testing.T) {
	all, err := allowedProcessors()
	if err != nil {
		t.Fatal(err)
	}
	p := &Processors{numbers: all[len(all)-1:]}
	var inside, after unix.CPUSet
	if err := p.run(func() error { return unix.SchedGetaffinity(0, &inside) }); err != nil {
		t.Fatal(err)
	}
	if inside.Count() != 1 || !inside.IsSet(all[len(all)-1]) {
		t.Errorf("pinned to %d processors", inside.Count())
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after.Count() != len(all) {
		t.Errorf("afterwards %d processors, %v", after.Count(), err)
	}
}
