//go:build lab

package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests boot machines, about a quarter of a minute each where there is no KVM.

func testGuest(t *testing.T) *Guest {
	t.Helper()
	lab, err := Open(DefaultSuite)
	if err != nil {
		t.Fatal(err)
	}
	guest, choice, err := lab.Prepare(t.Context(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(choice)
	return guest
}

func script(text string, args ...string) *Job {
	return &Job{Command: append([]string{"/bin/sh", "-c", text, "sh"}, args...)}
}

func TestJobInAMachine(t *testing.T) {
	guest := testGuest(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "in/file"), "from the host")
	job := script(`
		cat in/file; echo " $1 $X"
		echo trouble >/dev/stderr
		head -c 3000000 /dev/zero
		zfs create tank/a && df --output=fstype /tank/a | tail -n 1 >/root/fstype
		mkdir -p result/empty && cp in/file result/copy
		sleep 1000 &
		exit 42`, "an argument")
	job.Env = map[string]string{"X": "a variable"}
	job.Files = []File{{Host: filepath.Join(dir, "in"), Guest: "in"}}
	job.Outs = []Out{
		{Guest: "result", Host: filepath.Join(dir, "out")},
		{Guest: "/root/fstype", Host: filepath.Join(dir, "fstype")},
		{Guest: "/missing", Host: filepath.Join(dir, "missing")},
	}
	var stdout, stderr bytes.Buffer
	code, err := guest.Run(t.Context(), Options{}, job, &stdout, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if code != 42 {
		t.Errorf("exit code %d, want 42", code)
	}
	text, zeros, _ := strings.Cut(stdout.String(), "\n")
	if text != "from the host an argument a variable" || zeros != strings.Repeat("\x00", 3000000) {
		t.Errorf("standard output: %q and %d bytes", text, len(zeros))
	}
	if stderr.String() != "trouble\n" {
		t.Errorf("standard error: %q", stderr.String())
	}
	expectFile(t, filepath.Join(dir, "out/copy"), "from the host")
	expectFile(t, filepath.Join(dir, "fstype"), "zfs\n")
	if _, err := os.Stat(filepath.Join(dir, "out/empty")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); err == nil {
		t.Error("a file that is not there was handed back")
	}
}

// The context ends as soon as the job has printed a line: that line has to come
// through while the job runs, and the machine has to go.
func TestContextEndsTheMachine(t *testing.T) {
	guest := testGuest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // other machines may hold the processors first
	defer cancel()
	var begun time.Time
	out := &waitFor{text: "begun", found: func() {
		begun = time.Now()
		cancel()
	}}
	_, err := guest.Run(ctx, Options{Pool: PoolNone}, script("echo begun; sleep 1000"), out, io.Discard)
	var ended *EndedError
	if !errors.As(err, &ended) || !ended.Started {
		t.Errorf("got %v, want an EndedError of a job that had begun", err)
	}
	if !out.seen || time.Since(begun) > 2*time.Minute {
		t.Errorf("the output was seen: %v, %s before the machine's end", out.seen, time.Since(begun))
	}
}

// waitFor calls found when text was written.
type waitFor struct {
	text  string
	found func()
	seen  bool
	all   strings.Builder
}

func (w *waitFor) Write(data []byte) (int, error) {
	w.all.Write(data)
	if !w.seen && strings.Contains(w.all.String(), w.text) {
		w.seen = true
		w.found()
	}
	return len(data), nil
}

func TestPoolSurvivesAPowerCut(t *testing.T) {
	guest := testGuest(t)
	options := Options{KeepPool: filepath.Join(t.TempDir(), "pool.img"), PoolSize: 1 << 30}
	written := make(chan struct{})
	out := &waitFor{text: "synced", found: func() { close(written) }}
	machine, err := guest.Start(t.Context(), options, script("echo kept >/tank/file; zpool sync; echo synced; sleep 1000"), out, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-written:
	case <-machine.Exited():
		t.Error("the machine ended by itself")
	}
	machine.Kill()
	if _, err := machine.Wait(); err == nil {
		t.Error("a killed machine's job succeeded")
	}

	var stdout bytes.Buffer
	code, err := guest.Run(t.Context(), options, script("cat /tank/file"), &stdout, os.Stderr)
	if err != nil || code != 0 || stdout.String() != "kept\n" {
		t.Errorf("after the power cut: %q, exit code %d, %v", stdout.String(), code, err)
	}
}

func TestMachineThatDoesNotBoot(t *testing.T) {
	guest := testGuest(t)
	_, err := guest.Run(t.Context(), Options{Append: []string{"init=/missing", "rdinit=/missing", "root=/dev/missing"}}, script("true"), io.Discard, io.Discard)
	var ended *EndedError
	if !errors.As(err, &ended) || ended.Started || !strings.Contains(ended.Console, "Kernel panic") {
		t.Errorf("got %v, want an EndedError with the kernel's last words", err)
	}
}

func expectFile(t *testing.T, path, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != want {
		t.Errorf("%s: %q, %v; want %q", path, data, err, want)
	}
}

// TestLeaksAreFound: a job that leaves things behind fails and is told what.
func TestLeaksAreFound(t *testing.T) {
	guest := testGuest(t)
	job := script(`zfs create tank/left; mount -t tmpfs left /mnt; setsid sleep 1000 &`)
	var stderr bytes.Buffer
	code, err := guest.Run(t.Context(), Options{CheckLeaks: true}, job, io.Discard, &stderr)
	if err != nil || code != 3 {
		t.Errorf("exit code %d, %v", code, err)
	}
	for _, want := range []string{"mount /tank/left\n", "mount /mnt\n", "dataset tank/left\n", "process /usr/bin/sleep\n"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not among what was left:\n%s", want, stderr.String())
		}
	}
	code, err = guest.Run(t.Context(), Options{CheckLeaks: true}, script(`zfs create tank/tidy && zfs destroy tank/tidy`), io.Discard, &stderr)
	if err != nil || code != 0 {
		t.Errorf("a tidy job: exit code %d, %v\n%s", code, err, stderr.String())
	}
}
