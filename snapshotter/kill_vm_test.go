//go:build vm

package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// The environment by which a process is told to run one call and to kill itself
// on the way.
const (
	victimHome = "SNAPSHOTTER_VICTIM_HOME"
	victimCall = "SNAPSHOTTER_VICTIM_CALL"
	victimStep = "SNAPSHOTTER_VICTIM_STEP"
)

// lethal is a core that ends the process ahead of a step.
type lethal struct {
	*overlayzfs.Driver
	before func(string) error
}

func (l lethal) Create(ctx context.Context, id, parent string, o overlayzfs.CreateOptions) error {
	return errors.Join(l.before("create"), l.Driver.Create(ctx, id, parent, o), l.before("created"))
}

func (l lethal) Rebase(ctx context.Context, id, parent string) error {
	return errors.Join(l.before("rebase"), l.Driver.Rebase(ctx, id, parent), l.before("rebased"))
}

func (l lethal) Remove(ctx context.Context, id string) error {
	return errors.Join(l.before("remove"), l.Driver.Remove(ctx, id), l.before("removed"))
}

func (l lethal) CommitLayer(ctx context.Context, id string, written bool, record func() error) error {
	return errors.Join(l.before("seal"), l.Driver.CommitLayer(ctx, id, written, func() error {
		return errors.Join(l.before("record"), record(), l.before("recorded"))
	}))
}

// victim is the process that is killed. It ends with 0 when the call has fewer
// steps.
func victim() int {
	step, err := strconv.Atoi(os.Getenv(victimStep))
	if err == nil {
		err = runVictim(os.Getenv(victimHome), os.Getenv(victimCall), step)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runVictim(home, call string, step int) error {
	ctx := context.Background()
	d, err := overlayzfs.Open(ctx, home, overlayzfs.Options{Door: doorName})
	if err != nil {
		return err
	}
	dir, err := d.MakeDoorDir(doorName)
	if err != nil {
		return err
	}
	s, err := open(ctx, lethal{d, failAt(step, func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) })}, dir, Options{}, quiet())
	if err != nil {
		return err
	}
	return errors.Join(calls[call](ctx, s), s.Close())
}

func TestKilledForReal(t *testing.T) {
	for call := range calls {
		t.Run(call, func(t *testing.T) {
			steps := 0
			for killOnce(t, call, steps+1) {
				steps++
			}
			if steps == 0 && call != "view" { // which has no layer
				t.Error("the process was never killed")
			}
		})
	}
}

func killOnce(t *testing.T, call string, step int) (killed bool) {
	home := filepath.Join(t.TempDir(), "home")
	s := openStore(t, Options{Home: home})
	commitLayer(t, s, "base", "", func(dir string) { write(t, filepath.Join(dir, "a"), "1") })
	dir := mounted(t, prepare(t, s, "active", "base", nil))
	write(t, filepath.Join(dir, "b"), "2")
	unmount(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimHome+"="+home, victimCall+"="+call, victimStep+"="+strconv.Itoa(step))
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	if err != nil && !signaled(err) {
		t.Fatal(err)
	}
	s = openStore(t, Options{Home: home})
	requireRealAgreement(t, s)
	requireContent(t, s, call)
	finish(t, s, call, calls[call])
	requireRealAgreement(t, s)
	return err != nil
}

func signaled(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled()
}

// requireContent looks for what was there before, under its old name or its new
// one.
func requireContent(t *testing.T, s *Snapshotter, call string) {
	t.Helper()
	if _, err := s.View(t.Context(), "look", "base"); err != nil {
		t.Errorf("the image is lost: %v", err)
		return
	}
	mounts, err := s.Mounts(t.Context(), "active")
	if call == "commit" && errdefs.IsNotFound(err) {
		mounts, err = s.View(t.Context(), "committed", "new")
	}
	if call == "remove" && errdefs.IsNotFound(err) {
		return
	}
	if err != nil {
		t.Errorf("what was active is lost: %v", err)
		return
	}
	dir := mounted(t, mounts)
	requireFile(t, filepath.Join(dir, "a"), "1")
	requireFile(t, filepath.Join(dir, "b"), "2")
	unmount(t, dir)
}
