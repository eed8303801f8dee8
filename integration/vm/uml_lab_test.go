//go:build lab

package vm

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// umlGuest is a guest on User-Mode Linux, whatever the best machine is.
func umlGuest(t *testing.T) *Guest {
	t.Helper()
	t.Setenv(MachineVariable, string(KindUML))
	return testGuest(t)
}

// processesOf lists the processes that run the file.
func processesOf(t *testing.T, program string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.TrimSuffix(target, " (deleted)") == program {
			found = append(found, filepath.Base(filepath.Dir(link)))
		}
	}
	return found
}

// waitUntil polls a condition of the host.
func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// TestNothingStaysOfAKilledOzlab: the machine's processes, its memory and its
// processor go with the process that started it, however that ends.
func TestNothingStaysOfAKilledOzlab(t *testing.T) {
	guest := umlGuest(t)
	dir := t.TempDir()
	ozlab := filepath.Join(dir, "ozlab")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", ozlab, "../cmd/ozlab")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	script, temporary := filepath.Join(dir, "job"), filepath.Join(dir, "tmp")
	write(t, script, "#!/bin/sh\necho begun\nsleep 1000 & sleep 1000\n")
	if err := os.Mkdir(temporary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), ozlab, "run", "--script", script)
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	begun := make(chan struct{})
	cmd.Stdout = &waitFor{text: "begun", found: func() { close(begun) }}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-begun:
	case <-time.After(10 * time.Minute): // other machines may hold the processors first
		t.Fatal("the job did not begin within ten minutes")
	}
	mine := func() (pids []string) {
		for _, pid := range processesOf(t, guest.uml.built().kernel) {
			if target, _ := os.Readlink("/proc/" + pid + "/cwd"); strings.HasPrefix(target, temporary) {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	if len(mine()) == 0 {
		t.Fatal("no process of the machine was found: this test looks for the wrong thing")
	}
	all, err := os.ReadDir(temporary)
	if err != nil || len(all) != 1 {
		t.Fatalf("directories of machines: %v, %v", all, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitUntil(t, "no process of the machine is left", func() bool { return len(mine()) == 0 })
	// They are killed by their tracer's end, which does not wait for theirs.
	waitUntil(t, "no process of the machine's programs is left", func() bool { return len(stubsIn(t, temporary)) == 0 })
	sweepMachineDirs(temporary)
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// stubsIn lists processes whose working directory is below dir: User-Mode Linux
// has one for each address space of the guest.
func stubsIn(t *testing.T, dir string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir) {
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}

// TestMachinesHaveAProcessorEach: two machines at a time run on two processors.
func TestMachinesHaveAProcessorEach(t *testing.T) {
	guest := umlGuest(t)
	all, err := allowedProcessors()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	var machines []*Machine
	for range all {
		machine, err := guest.Start(t.Context(), Options{Memory: "1G", PoolSize: 1 << 30}, script("sleep 1000"), io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		machines = append(machines, machine)
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(machine.process.Process.Pid, &set); err != nil || set.Count() != 1 {
			t.Errorf("a machine may run on %d processors, %v", set.Count(), err)
		}
		used[machine.processors.String()] = true
	}
	if len(used) != len(all) {
		t.Errorf("%d machines ran on processors %v", len(all), used)
	}
	for _, machine := range machines {
		machine.Kill()
		if _, err := machine.Wait(); err == nil {
			t.Error("a killed machine's job succeeded")
		}
	}
}

// TestAMachineThatHangsEndsAtItsLimit: with the console's end in the error.
func TestAMachineThatHangsEndsAtItsLimit(t *testing.T) {
	guest := umlGuest(t)
	job := script("echo lab-test-was-here >/dev/console; sleep 1000")
	_, err := guest.Run(t.Context(), Options{Limit: 10 * time.Second, Pool: PoolNone}, job, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "time limit") || !strings.Contains(err.Error(), "lab-test-was-here") {
		t.Errorf("got %v, want the time limit and the console's end", err)
	}
}

// TestStockKernelRunsTheSameRoot: a kept pool goes from one kind of machine to
// the other, and the root disk with it.
func TestStockKernelRunsTheSameRoot(t *testing.T) {
	options := Options{KeepPool: filepath.Join(t.TempDir(), "pool.img"), PoolSize: 1 << 30}
	var kernels []string
	for _, kind := range []Kind{KindQEMU, KindUML} {
		t.Setenv(MachineVariable, string(kind))
		guest := testGuest(t)
		var stdout bytes.Buffer
		text := "uname -r; cat /lab/suite; echo " + string(kind) + " >>/tank/kinds; cat /tank/kinds"
		if code, err := guest.Run(t.Context(), options, script(text), &stdout, os.Stderr); err != nil || code != 0 {
			t.Fatalf("%s: exit code %d, %v", kind, code, err)
		}
		words := strings.Fields(stdout.String())
		kernels = append(kernels, words[0])
		if want := fmt.Sprint(DefaultSuite, " qemu"); !strings.HasPrefix(strings.Join(words[1:], " "), want) {
			t.Errorf("%s: %q", kind, words)
		}
	}
	if kernels[0] == kernels[1] {
		t.Errorf("both machines ran %s", kernels[0])
	}
}
