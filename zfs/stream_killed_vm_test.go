//go:build vm

package zfs

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// streamOfAChild names the snapshot that a child process of a test sends or receives.
const streamOfAChild = "OVERLAYZFS_TEST_STREAM"

// TestSendInAChild is the child's part of TestAKilledSendEnds: it sends to its descriptor 3.
func TestSendInAChild(t *testing.T) {
	if snap := os.Getenv(streamOfAChild); snap != "" {
		check(t, open(t).Send(t.Context(), snap, "", os.NewFile(3, "stream")))
	}
}

// TestReceiveInAChild is the child's part of TestAKilledReceiveEnds: it receives from its
// descriptor 3, and says so before it begins.
func TestReceiveInAChild(t *testing.T) {
	if snap := os.Getenv(streamOfAChild); snap != "" {
		from := os.NewFile(3, "stream")
		begin := make([]byte, BeginSize)
		_, err := io.ReadFull(from, begin)
		check(t, err)
		b, err := ParseBegin(begin)
		check(t, err)
		h := open(t)
		_, err = os.NewFile(4, "beginning").Write([]byte{1})
		check(t, err)
		check(t, h.Receive(context.Background(), snap, b, Receiving{Properties: Properties{"mountpoint": String("legacy")}}, from))
	}
}

// noise makes a dataset with a snapshot, and returns that.
func noise(t *testing.T, h *Handle) string {
	t.Helper()
	name := fresh(t)
	content := make([]byte, 8<<20)
	_, _ = rand.Read(content)
	check(t, os.WriteFile(filepath.Join(mounted(t, name), "noise"), content, 0o600))
	check(t, h.Snapshot([]string{name + "@1"}, nil))
	return name + "@1"
}

// kills is how many processes are killed, each a bit later than the one before.
const kills, later = 20, 50 * time.Microsecond

// killAfter kills a process, and fails the test unless it ends.
func killAfter(t *testing.T, cmd *exec.Cmd, delay time.Duration) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < delay; {
	}
	check(t, cmd.Process.Kill())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("a process that was killed %v after it began has not ended", delay)
	}
}

// startChild starts a child's part of a test with the descriptors 3 and further.
func startChild(t *testing.T, part, snap string, files ...*os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+part+"$")
	cmd.Env = append(os.Environ(), streamOfAChild+"="+snap)
	cmd.ExtraFiles = files
	check(t, cmd.Start())
	for _, f := range files {
		check(t, f.Close())
	}
	return cmd
}

// TestAKilledSendEnds kills a sending process while the module starts its threads, and forgets
// signals. Nobody reads the stream's rest.
func TestAKilledSendEnds(t *testing.T) {
	h := open(t)
	snap := noise(t, h)
	for i := range time.Duration(kills) {
		r, w, err := os.Pipe()
		check(t, err)
		cmd := startChild(t, "TestSendInAChild", snap, w)
		_, err = io.ReadFull(r, make([]byte, 1))
		check(t, err)
		killAfter(t, cmd, i*later)
		check(t, r.Close())
	}
}

// TestAKilledReceiveEnds kills a receiving process that waits for the middle of its stream.
func TestAKilledReceiveEnds(t *testing.T) {
	h := open(t)
	raw := stream(t, h, noise(t, h), "")
	for i := range time.Duration(kills) {
		r, w, err := os.Pipe()
		check(t, err)
		begun, child, err := os.Pipe()
		check(t, err)
		to := unused(t)
		cmd := startChild(t, "TestReceiveInAChild", to+"@1", r, child)
		written := make(chan error, 1)
		go func() {
			_, err := io.Copy(w, bytes.NewReader(raw[:len(raw)/2]))
			written <- err
		}()
		_, err = io.ReadFull(begun, make([]byte, 1))
		check(t, err)
		killAfter(t, cmd, 20*i*later)
		<-written // with an error: nobody reads
		check(t, w.Close())
		check(t, begun.Close())
	}
}
