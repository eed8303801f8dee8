//go:build vm

package snapshotter

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// TestALimitIsGivenToAStoppedContainer refuses a first limit while the container is mounted, in
// any mount name space, and gives it afterwards.
func TestALimitIsGivenToAStoppedContainer(t *testing.T) {
	s := openStore(t, Options{})
	commitLayer(t, s, "base", "", func(dir string) { write(t, filepath.Join(dir, "a"), "1") })
	key := "moby/3/" + strings.Repeat("ab", 32)
	answer := prepare(t, s, key, "base", nil)
	set := func(options map[string]string) error {
		name, err := s.SetLimits(t.Context(), "abababab", options)
		if err == nil && name != key {
			t.Errorf("the snapshot is %q", name)
		}
		return err
	}
	limit := map[string]string{"size": "40M"}

	dir := mounted(t, answer)
	write(t, filepath.Join(dir, "b"), "2")
	if err := set(limit); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "stop the container") {
		t.Errorf("a first limit for a container that runs: %v", err)
	}
	write(t, filepath.Join(dir, "c"), "3")
	unmount(t, dir)
	end := mountElsewhere(t, answer[0].Options)
	if err := set(limit); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a first limit for a container that is mounted elsewhere: %v", err)
	}
	end()
	for err := set(limit); err != nil; err = set(limit) {
		if !errdefs.IsFailedPrecondition(err) { // the name space is still ending
			t.Fatal(err)
		}
	}
	// A client may have asked before, and mount now.
	dir = mounted(t, answer)
	for file, want := range map[string]string{"a": "1", "b": "2", "c": "3"} {
		requireFile(t, filepath.Join(dir, file), want)
	}
	write(t, filepath.Join(dir, "b"), "new")
	if err := fill(filepath.Join(dir, "big"), 2*testLimit); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("twice the limit was written: %v", err)
	}
	if err := set(map[string]string{"size": "200M"}); err != nil {
		t.Error(err)
	}
	if err := fill(filepath.Join(dir, "big"), 2*testLimit); err != nil {
		t.Errorf("after the limit was raised: %v", err)
	}
	if err := set(map[string]string{"size": "10M"}); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a limit below what the container holds: %v", err)
	}
	if err := set(map[string]string{"size": "0", "inodes": "0"}); err != nil {
		t.Error(err)
	}
	unmount(t, dir)
	mounts, err := s.Mounts(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir = mounted(t, mounts)
	requireFile(t, filepath.Join(dir, "b"), "new")
	unmount(t, dir)
	if err := s.Commit(t.Context(), "image", key); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("commit of a snapshot on a dataset of its own: %v", err)
	}
	requireRealAgreement(t, s)
}

// mountElsewhere mounts an overlay in a mount name space of its own, until end is called.
func mountElsewhere(t *testing.T, options []string) (end func()) {
	t.Helper()
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t overlay overlay -o "$1" "$2" && echo mounted && read line`, "sh", strings.Join(options, ","), t.TempDir())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "mounted\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return func() {
		t.Helper()
		if _, err := stdin.Write([]byte("\n")); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}
