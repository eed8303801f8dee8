package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ProcessorsVariable names the processors that a parent process has claimed for
// this one, as a list with commas: machines take these instead of claiming.
const ProcessorsVariable = "OZLAB_PROCESSORS"

// Processors are processors of the host that no other lab machine holds.
type Processors struct {
	numbers []int
	claims  []net.Listener
}

// claimName is the name of a processor's claim: an abstract socket has one owner
// on the host, needs no directory that all users may write to, and goes with its
// process, however that ends.
var claimName = "@overlayzfs-lab-processor-%d"

// ClaimProcessors waits until n of the processors that this process may run on
// are free, and takes them. waiting is called once if it has to wait. A claim
// ends with Release or with the process.
func ClaimProcessors(ctx context.Context, n int, waiting func()) (*Processors, error) {
	if inherited := inheritedProcessors(); len(inherited) > 0 {
		return &Processors{numbers: inherited[:min(n, len(inherited))]}, nil
	}
	allowed, err := allowedProcessors()
	if err != nil {
		return nil, err
	}
	n = min(n, len(allowed))
	for first := true; ; first = false {
		if claimed := tryClaim(allowed, n); claimed != nil {
			return claimed, nil
		}
		if first && waiting != nil {
			waiting()
		}
		if err := waitForRelease(ctx, allowed); err != nil {
			return nil, err
		}
	}
}

// waitForRelease waits until one of the claims on these processors ends, if there
// are any: the socket of a claim ends the connections to it with itself. So who waits
// wakes at once, and a newcomer is not ahead of it.
func waitForRelease(ctx context.Context, allowed []int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	released := make(chan struct{}, len(allowed))
	waiting := false
	for _, number := range allowed {
		held, err := net.Dial("unix", fmt.Sprintf(claimName, number))
		if err != nil {
			continue // nobody holds it
		}
		waiting = true
		defer held.Close()
		go func() {
			_, _ = held.Read(make([]byte, 1))
			released <- struct{}{}
		}()
	}
	if !waiting {
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-released:
		return nil
	}
}

// tryClaim takes n processors or none. Half a claim is given back, so that two
// waiting processes do not keep each other waiting.
func tryClaim(allowed []int, n int) *Processors {
	p := &Processors{}
	for _, number := range allowed {
		claim, err := net.Listen("unix", fmt.Sprintf(claimName, number))
		if err != nil {
			continue
		}
		p.numbers, p.claims = append(p.numbers, number), append(p.claims, claim)
		if len(p.numbers) == n {
			return p
		}
	}
	p.Release()
	return nil
}

// Release gives the processors back.
func (p *Processors) Release() {
	for _, claim := range p.claims {
		claim.Close()
	}
	p.claims = nil
}

// String is the value of [ProcessorsVariable] for a child process.
func (p *Processors) String() string {
	words := make([]string, len(p.numbers))
	for i, number := range p.numbers {
		words[i] = strconv.Itoa(number)
	}
	return strings.Join(words, ",")
}

func inheritedProcessors() []int {
	var numbers []int
	for word := range strings.SplitSeq(os.Getenv(ProcessorsVariable), ",") {
		if number, err := strconv.Atoi(word); err == nil && number >= 0 {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

func allowedProcessors() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var numbers []int
	for number := 0; len(numbers) < set.Count(); number++ {
		if set.IsSet(number) {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// run calls start on a thread that is pinned to the processors: what start
// forks is pinned with it.
func (p *Processors) run(start func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, pinned unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for _, number := range p.numbers {
		pinned.Set(number)
	}
	if err := unix.SchedSetaffinity(0, &pinned); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	defer func() {
		if back := unix.SchedSetaffinity(0, &before); back != nil {
			err = errors.Join(err, os.NewSyscallError("sched_setaffinity", back))
		}
	}()
	return start()
}
